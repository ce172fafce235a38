"""What pytest has collected is out of the garbage collector's way, which goes on with all that comes later."""

import gc


def test_the_collector_works_and_leaves_out_what_was_collected() -> None:
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
