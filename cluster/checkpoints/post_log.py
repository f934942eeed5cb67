"""What was posted to one source since a checkpoint, in files beside it. Knows no HTTP and no task.

    0000000007-1f2e3d4c-9a8b7c6d.posts    posted since checkpoint 7 to the source of this name

A file ends where its next checkpoint is taken, and goes once no checkpoint needs it. After a write that failed another
one is begun: what was torn then is the end of its file, and was not acknowledged. Each instance of the source writes
files of its own, and reads those of all.

A mark follows what is on the disk, so that damage to what was acknowledged is told from what a kill has torn.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from cluster.checkpoints.disk import settle, settle_folder
from cluster.checkpoints.folder import POSTS
from cluster.checkpoints.post_entries import LEN_MARK_BYTES, bytes_of_mark, bytes_of_post, is_damaged, posts_in
from cluster.runtime.posts import KeptPost
from sage.base.errors import CheckpointUnusable
from sage.base.log import get_log


class FolderPosts:
    """The log of the source `name` of a flow."""

    def __init__(self, folder: str, begins_at: int, name: str) -> None:
        """`begins_at`: the checkpoint of this folder from which the run goes on, 0 for its start."""
        self._folder = Path(folder)
        self._source = sha256(name.encode()).hexdigest()[:8]
        self._since = begins_at
        self._file: int | None = None

    def load(self) -> list[KeptPost]:
        """Raises CheckpointUnusable where posts are damaged that no checkpoint holds."""
        found: list[KeptPost] = []
        for name in sorted(os.listdir(self._folder)) if self._folder.is_dir() else ():
            if name.endswith(POSTS) and name[11:19] == self._source:
                content = (self._folder / name).read_bytes()
                posts, num_torn_bytes = posts_in(content)
                found += posts
                if num_torn_bytes and is_damaged(content, num_torn_bytes):
                    self._damaged(name, num_torn_bytes)
                elif num_torn_bytes:
                    why = "a run was killed, or the disk full, before it acknowledged them; else the file is damaged"
                    get_log(file=name).warning("the last bytes of a log are left out", bytes=num_torn_bytes, why=why)
        return sorted(found, key=lambda post: (post.number, post.taken_by))

    def append(self, posts: Sequence[KeptPost]) -> None:
        if self._file is None:
            self._file = self._open()
        try:
            left = memoryview(b"".join(map(bytes_of_post, posts)))
            while left:
                left = left[os.write(self._file, left) :]
            settle(self._file)
        except OSError:
            self.close()
            raise
        self._mark(self._file)

    def cut(self, checkpoint_id: int) -> None:
        self.close()
        self._since = checkpoint_id

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _mark(self, file: int) -> None:
        """Say after posts that they are on the disk. A kill leaves it, a loss of power may not."""
        try:
            is_whole = os.write(file, bytes_of_mark(os.fstat(file).st_size)) == LEN_MARK_BYTES
        except OSError:
            is_whole = False
        if not is_whole:
            self.close()  # nothing comes after the torn one

    def _damaged(self, name: str, num_left_bytes: int) -> None:
        """Refuse to go on without posts that were acknowledged; where a checkpoint has counted them, say it alone."""
        what = f"{num_left_bytes:,} bytes of {name} in {self._folder}, posts that were acknowledged, are damaged"
        if int(name[:10]) < self._since:
            get_log(file=name).warning("a log is damaged", why=f"{what}; the checkpoint holds what counts of them")
            return
        raise CheckpointUnusable(
            what, f"Bring the file back. Or rename it to {name}.bad: the flow then goes on without the posts in it."
        )

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"{self._since:010d}-{self._source}-{token_hex(4)}{POSTS}"
        file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        settle_folder(self._folder)
        return file
