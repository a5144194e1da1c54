"""The kernel file ``.aivm``: one layout for one content, and every byte of it checked on reading.

See docs/kernel-format.md. Nothing here needs the compiler, except :mod:`.writer`'s input.
"""
