"""Another sealing key for all that is stored, while applications read and write.

The new key joins the ring, and once every instance knows it, it becomes the active one. What the old keys sealed is
then sealed anew, record by record, each exchanged for exactly the record that was looked at. A key that no record and
no backup needs any more can be retired.
"""

from __future__ import annotations
