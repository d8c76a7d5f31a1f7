"""How a plan and the presets are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echocli.api._pretrain.plan import Plan

PARTS = {
    "weights": "weights",
    "teachers": "teachers and what is frozen",
    "gradients": "gradients",
    "moments": "moments of the optimiser",
    "activations": "activations",
    "batch": "clips",
    "saving": "copy of the state that is saved",
    "libraries": "libraries",
}
"""What the parts of the memory are called."""


def presets() -> list[list[object]]:
    """Return a row for each preset: its name, its method, what it is for."""
    from echocli.config import preset_names, preset_summary, read_preset

    return [
        [name, read_preset(name).get("method", "any"), preset_summary(name)]
        for name in preset_names()
    ]


def plan_rows(plan: Plan) -> list[list[object]]:
    """Return what a plan says, one thing a row."""
    left_out = ", ".join(
        f"{n} {reason.replace('_', ' ')}" for reason, n in plan.left_out.items()
    )
    return [
        ["run", plan.run],
        ["method", f"{plan.method}, preset {plan.preset}"],
        ["clips used", f"{plan.clips}, of {plan.patients} patient(s)"],
        ["clips not chosen", plan.not_chosen],
        ["clips left out", left_out or 0],
        ["tokens a window", plan.tokens],
        ["trained parameters", plan.parameters],
        ["encoder parameters", plan.encoder_parameters],
        ["device", plan.device],
        [
            "steps",
            f"{plan.steps} ({plan.epochs:.{1 if plan.epochs < 100 else 0}f} times each clip)",
        ],
        *_time_rows(plan),
        *_memory_rows(plan),
        *_disk_rows(plan),
        *_source_rows(plan),
    ]


def _time_rows(plan: Plan) -> list[list[object]]:
    """Say how long a step takes, what is seen when if that changes, and how long all takes."""
    if plan.seconds_per_step is None or plan.hours is None:
        return [["seconds a step", "not measured: a step does not fit into memory"]]
    stages: list[list[object]] = [
        [
            f"from step {stage.first_step}",
            f"{stage.frames} frames of {stage.size} px, {stage.tokens} tokens, batch "
            f"{stage.batch}, {stage.clips} clip(s), {stage.seconds_per_step:.3g} s a step",
        ]
        for stage in plan.stages
    ]
    return [
        ["seconds a step", f"{plan.seconds_per_step:.3g} (measured)"],
        *(stages if len(stages) > 1 else []),
        ["hours", f"{plan.hours:.2g}"],
    ]


def _memory_rows(plan: Plan) -> list[list[object]]:
    held = {name: count for name, count in plan.memory.items() if name in PARTS and count}
    parts: list[list[object]] = [[f"  {PARTS[name]}", size(n)] for name, n in held.items()]
    free = "" if plan.memory_free is None else f" ({size(plan.memory_free)} are free)"
    return [["memory", f"{size(plan.memory['total'])}{free}"], *parts]


def _disk_rows(plan: Plan) -> list[list[object]]:
    states = round(plan.disk["checkpoints"] / plan.checkpoint_bytes)
    return [
        ["disk", f"{size(plan.disk['total'])} ({size(plan.disk_free)} are free)"],
        ["  checkpoints", f"{states} of {size(plan.checkpoint_bytes)} at most"],
        ["  model", size(plan.disk["model"])],
        ["  best model", size(plan.disk["best"])],
        ["  metrics", size(plan.disk["metrics"])],
    ]


def _source_rows(plan: Plan) -> list[list[object]]:
    """Say where settings come from that are not defaults; two of them are told above."""
    told = {
        key: source for key, source in plan.sources.items() if key not in ("method", "preset")
    }
    return [
        [f"from {source}", ", ".join(key for key, other in told.items() if other == source)]
        for source in dict.fromkeys(told.values())
    ]


def size(count: int) -> str:
    """Return bytes as a person reads them."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
