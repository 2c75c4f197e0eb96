"""The naming habits of acquisition programs, one module each.

A dialect gets names and says what they are (`recognise`), which part of a name all files of one exposure share
(`stem_of`), how people call the movie (`run_name`) and where a session's folder ends (`session_depth`). A new program
is a new module that has these four, and a line in `DIALECTS`.
"""

from __future__ import annotations

from cryodaq.domain.dialects import epu, leginon, serialem, tomo
from cryodaq.domain.dialects.words import Dialect

DIALECTS: tuple[Dialect, ...] = (epu.DIALECT, leginon.DIALECT, tomo.DIALECT, serialem.DIALECT)
"""Asked in this order; the first that recognises a name speaks for it."""
