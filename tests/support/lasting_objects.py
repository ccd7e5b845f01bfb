"""The objects of large libraries, which last: kept from the garbage collector, which would look through all of them.

To be imported before they are. Trainer asks for a whole collection, too.
"""

import gc

gc.disable()


def spare() -> None:
    """From now on it looks at what is new alone."""
    gc.collect()
    gc.freeze()
    gc.enable()
