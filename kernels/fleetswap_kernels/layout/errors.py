"""The error word of a device: what a kernel function reports instead of raising."""

NO_FRAMES, NO_CONTENTS, NO_ZSPAGES, LOOP_BOUND, BAD_OP, COUNT_OVERFLOW, NO_SWAP_CACHE, BAD_STATE = range(1, 9)

MESSAGES = {
    NO_FRAMES: "the device has too few page frames for its resident pages; raise `frames`",
    NO_CONTENTS: "an operation names a content that is not in the content table",
    NO_ZSPAGES: "the device has too few zspages for its compressed pages; raise `zspages`",
    LOOP_BOUND: "a loop ran past its bound: the swap state is inconsistent",
    BAD_OP: "unknown operation code",
    COUNT_OVERFLOW: "a swap entry is referred to more than 62 times (swap count continuation is not modelled)",
    NO_SWAP_CACHE: "the device was laid out without a swap cache, but needs one; set `swap_cache`",
    BAD_STATE: "a rule met a state that cannot be",
}
