"""What a clip's record tells of itself."""

from __future__ import annotations

import numpy as np
import pytest

from echocli.clips.record import mean_rate_hz


@pytest.mark.parametrize("rate_hz", [25.0, 40.0, 50.0, 80.0])
def test_one_rate_is_one_number_however_many_frames_were_summed_up(rate_hz: float) -> None:
    rates = {
        mean_rate_hz(np.cumsum([0.0] + [1.0 / rate_hz] * frames)) for frames in range(2, 200)
    }
    assert rates == {rate_hz}
