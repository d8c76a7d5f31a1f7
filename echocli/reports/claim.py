"""The items of CLAIM, in our own words.

Source:
    Mongan, Moy and Kahn 2020, Checklist for Artificial Intelligence in Medical Imaging (CLAIM),
    Radiology: Artificial Intelligence 2(2):e200029. The numbers are those of that checklist;
    its update (Tejani et al. 2024, doi 10.1148/ryai.240300) numbers some of them anew.
"""

from __future__ import annotations

CLAIM: tuple[tuple[str, str, str, str], ...] = (
    ("1", "Title", "The kind of AI method stands in the title or abstract", ""),
    ("2", "Title", "An abstract in parts: design, methods, results, conclusions", ""),
    ("3", "Introduction", "Clinical background, and the part that the method shall play", ""),
    ("4", "Introduction", "Aims and hypotheses", ""),
    ("5", "Study design", "Looking back or looking ahead", ""),
    ("6", "Study design", "What kind of study it is", ""),
    ("7", "Data", "Where the data come from", "source"),
    ("8", "Data", "Who could take part: where, when, by which criteria", "eligible"),
    ("9", "Data", "What was done to the data before use", "preprocessing"),
    ("10", "Data", "Which part of the data was used", "subset"),
    ("11", "Data", "What each data element means", "elements"),
    ("12", "Data", "How persons were made unrecognisable", "deidentified"),
    ("13", "Data", "What was done about missing data", "missing"),
    ("14", "Reference", "What counts as the truth", "truth"),
    ("15", "Reference", "Why that, among other possibilities", ""),
    ("16", "Reference", "Who labelled, and how they were qualified and prepared", ""),
    ("17", "Reference", "With which tools they labelled", ""),
    ("18", "Reference", "How much labels vary between and within readers", ""),
    ("19", "Partitions", "The sample size aimed at, and why", ""),
    ("20", "Partitions", "How data were dealt to the splits", "splits"),
    ("21", "Partitions", "At which level the splits are apart", "apart"),
    ("22", "Model", "The model in full: inputs, outputs, layers", "model"),
    ("23", "Model", "Software and its versions", "software"),
    ("24", "Model", "How the weights began", "start"),
    ("25", "Training", "How it was trained: augmentation, settings, length", "training"),
    ("26", "Training", "How the final model was chosen", "chosen"),
    ("27", "Training", "Whether models were combined, and how", "ensemble"),
    ("28", "Evaluation", "Measures of performance", "measures"),
    ("29", "Evaluation", "Measures of uncertainty and significance", "uncertainty"),
    ("30", "Evaluation", "Robustness or sensitivity analysis", "robustness"),
    ("31", "Evaluation", "How its answers can be explained", "explained"),
    ("32", "Evaluation", "A test on data from elsewhere", ""),
    ("33", "Results", "The flow of patients or clips, with a diagram", "flow"),
    ("34", "Results", "Who they are, by split", "people"),
    ("35", "Results", "Performance of the final model on every split", "performance"),
    ("36", "Results", "How exact the estimates are", "precision"),
    ("37", "Results", "Where it fails", "failures"),
    ("38", "Discussion", "Limits: bias, uncertainty, how far it holds", "limits"),
    ("39", "Discussion", "What it means for practice", ""),
    ("40", "Other", "Registration number and registry", ""),
    ("41", "Other", "Where the protocol stands in full", "repeat"),
    ("42", "Other", "Who paid, and what part they had", ""),
)
"""Number, part, what is asked for, and the fact that answers it; empty if no file can."""
