"""Take the contiguity census of page tables that are arrays."""

# %% [markdown]
# # Census of page tables
#
# What `fleetswap census` does, for arrays of your own: a word for each page, as `/proc/PID/pagemap` has it. Here they
# are made up: processes of 1,024 pages, each swapped out in blocks of 64 KiB, in slots that are handed out in order.

# %%
import numpy as np

from fleetswap_kernels.backend.choose import choose
from fleetswap_kernels.batch.census import census
from fleetswap_kernels.batch.page_tables import PageTables
from fleetswap_kernels.batch.swap_areas import SwapAreas
from fleetswap_kernels.batch.words import words_of_slots

PROCESSES, PAGES = 500, 1024
random = np.random.default_rng(1)
slots = 512 + np.arange(PROCESSES * PAGES).reshape(PROCESSES, -1)

# %% [markdown]
# A share of the blocks was brought back page by page and went out again into single slots, anywhere. That is what
# fragmentation of swap looks like from the page tables.

# %%
blocks = slots.reshape(-1, 16).copy()
scattered = random.random(len(blocks)) < np.linspace(0, 0.9, PROCESSES).repeat(PAGES // 16)
blocks[scattered] = random.permutation(blocks[scattered].ravel()).reshape(-1, 16)

# %% [markdown]
# One region for each process, all at an aligned address. Nothing is known about slots but their numbers, so there is no
# swap area. On a GPU everything below stays the same with `choose("cuda")`.

# %%
tables = PageTables(
    pte=words_of_slots(blocks.ravel()),
    region_offset=np.arange(PROCESSES + 1) * PAGES,
    region_start=np.full(PROCESSES, 0x7000_0000),
    process_offset=np.arange(PROCESSES + 1),
    process_area=np.zeros(PROCESSES, np.int64),
)
backend, _ = choose("cpu", threads=2)
found = census(backend, tables, SwapAreas.unknown(), orders=1 << 2 | 1 << 4 | 1 << 6)

# %% [markdown]
# Pages by the size that comes back with one fault, for the least and the most fragmented processes.

# %%
for name, rows in (("least fragmented", found.order_pages[:50]), ("most fragmented", found.order_pages[-50:])):
    pages = rows.sum(axis=0)
    sizes = ", ".join(f"{4 << k}K {pages[k] / pages.sum():.1%}" for k in (0, 2, 4, 6))
    print(f"{name}: {sizes}")
