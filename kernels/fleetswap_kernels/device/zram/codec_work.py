"""Work of the codec: pages and blocks that go through it, counted by the class of their contents."""

from ...compile.decorators import device
from ...layout.counters import CODEC, CODEC_FIRST
from ..access import count


@device
def count_codec_work(dev, content_class, work, n):
    """Count `n` pages or blocks of a class; `work` is COMPRESSED_PAGES or another of `counters.CODEC`."""
    count(dev, CODEC_FIRST + len(CODEC) * content_class + work, n)
