/*
 * The rules of the swap core that the allocator test exercises, in C: what the Numba kernels are timed against.
 *
 * The memory of a device is that of the kernels: `layout.h`, generated from fleetswap_kernels, declares its header and
 * names its constants. After the same program every byte of a device is the same. Decisions and their order are those
 * of the kernels, function by function; left out is what the test cannot reach: other processes, the swap cache,
 * partially mapped and PMD-sized folios, compressed pages, rules before 6.12. A program that gets there fails with
 * NOT_IN_REFERENCE.
 *
 * Numbers are 32 bits wide. Functions carry the names of the kernels' where they do the same.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

#define NOT_IN_REFERENCE 1000

typedef uint32_t u32;
typedef uint64_t u64;
/* Bytes of swap_map, read four or eight at a time. */
typedef uint32_t __attribute__((may_alias)) u32_bytes;
typedef uint64_t __attribute__((may_alias)) u64_bytes;
typedef struct header device;

static inline u32 *words(device *d) { return (u32 *)d; }
static inline uint8_t *bytes(device *d) { return (uint8_t *)d; }

static inline u32 *ptes(device *d) { return words(d) + d->o_pte; }
static inline u32 *frames(device *d) { return words(d) + d->o_frame; }
static inline u32 *contents(device *d) { return words(d) + d->o_content; }
static inline uint8_t *mapcounts(device *d) { return bytes(d) + d->o_mapcount; }
static inline uint8_t *swap_map(device *d) { return bytes(d) + d->o_map; }
static inline uint8_t *zeromap(device *d) { return bytes(d) + d->o_zeromap; }
static inline u32 *clusters(device *d) { return words(d) + d->o_cluster; }
static inline u32 *this_cpu(device *d) { return words(d) + d->o_cpu + d->cpu * CPU_WORDS; }
static inline u32 *process(device *d, u32 p) { return words(d) + d->o_proc + p * PROC_WORDS; }
static inline u32 *region(device *d, u32 p, u32 v) { return words(d) + d->o_vma + (p * d->n_vmas + v) * VMA_WORDS; }
static inline u32 *region_ptes(device *d, const u32 *vma) { return ptes(d) + vma[VMA_PTE]; }

static inline void count(device *d, u32 counter, u64 n) { ((u64 *)d)[Q_COUNTER + counter] += n; }

/* Order-0 folios are not counted anywhere. */
static inline void count_mthp(device *d, u32 order, u32 which, u64 n)
{
	if (order > 0)
		count(d, N_SCALAR + 10 * order + which, n);
}

static inline void account(device *d, u32 p, u32 anon_pages, u32 swap_entries)
{
	u32 *proc = process(d, p);

	proc[PROC_ANONPAGES] += anon_pages;
	proc[PROC_SWAPENTS] += swap_entries;
}

static void fail(device *d, u32 code, u32 detail)
{
	if (!d->error) {
		d->error = code;
		d->error_detail = detail;
	}
}

static inline void fill(u32 *to, u32 n, u32 value)
{
	for (u32 i = 0; i < n; i++)
		to[i] = value;
}

static inline void fill_ascending(u32 *to, u32 n, u32 first)
{
	for (u32 i = 0; i < n; i++)
		to[i] = first + i;
}

/* ---- page frames: buddy allocator ---- */

static inline u32 frame_order(device *d, u32 frame) { return frames(d)[frame] >> FRAME_ORDER_SHIFT & 15; }

static void block_push(device *d, u32 frame, u32 order)
{
	u32 *list = words(d) + W_BLOCK_HEAD + order;
	u32 head = *list;

	frames(d)[frame] = FRAME_FREE | order << FRAME_ORDER_SHIFT | head;
	contents(d)[frame] = FRAME_NIL;
	if (head != FRAME_NIL)
		contents(d)[head] = frame;
	*list = frame;
}

static void block_unlink(device *d, u32 frame, u32 order)
{
	u32 after = frames(d)[frame] & FRAME_LINK;
	u32 before = contents(d)[frame];

	if (before == FRAME_NIL)
		words(d)[W_BLOCK_HEAD + order] = after;
	else
		frames(d)[before] = (frames(d)[before] & ~FRAME_LINK) | after;
	if (after != FRAME_NIL)
		contents(d)[after] = before;
}

/* First frame of an aligned block of 2^order, or FRAME_NIL. */
static u32 frames_take(device *d, u32 order)
{
	const u32 *heads = words(d) + W_BLOCK_HEAD;
	u32 have = order;

	while (have <= MAX_BLOCK_ORDER && heads[have] == FRAME_NIL)
		have++;
	if (have > MAX_BLOCK_ORDER)
		return FRAME_NIL;
	u32 frame = heads[have];
	block_unlink(d, frame, have);
	while (have > order) {
		if (have >= SMALLEST_COUNTED)
			count(d, BROKEN_BY_FOLIOS + have, 1);
		have--;
		block_push(d, frame + (1u << have), have);
	}
	d->frames_free -= 1u << order;
	return frame;
}

static void frames_give(device *d, u32 frame, u32 order)
{
	d->frames_free += 1u << order;
	while (order < MAX_BLOCK_ORDER) {
		u32 buddy = frame ^ 1u << order;

		if (buddy + (1u << order) > d->n_frames)
			break;
		u32 info = frames(d)[buddy];
		if (info < FRAME_FREE || (info >> FRAME_ORDER_SHIFT & 15) != order)
			break;
		block_unlink(d, buddy, order);
		if (buddy < frame)
			frame = buddy;
		order++;
	}
	block_push(d, frame, order);
}

/* ---- folios ---- */

static u32 folio_new(device *d, u32 order)
{
	u32 head = frames_take(d, order);

	if (head == FRAME_NIL) {
		fail(d, d->frames_free >= 1u << order ? NOT_IN_REFERENCE : NO_FRAMES, order);
		return head;
	}
	fill(frames(d) + head, 1u << order, order << FRAME_ORDER_SHIFT);
	count(d, FOLIO_ALLOC + order, 1);
	return head;
}

static inline u32 folio_mapped(device *d, u32 head, u32 order)
{
	const uint8_t *mapped = mapcounts(d) + head;
	u32 total = 0;

	for (u32 i = 0; i < 1u << order; i++)
		total += mapped[i];
	return total;
}

static void folio_free(device *d, u32 head, u32 order)
{
	count_mthp(d, order, NR_ANON, -1);
	frames_give(d, head, order);
}

/* ---- clusters and their lists ---- */

static inline u32 list_head(device *d, u32 which) { return words(d)[W_LIST_HEAD + which]; }

static inline u32 list_of(u32 info)
{
	u32 order = info >> CLUSTER_ORDER_SHIFT & 15;

	switch (info >> CLUSTER_FLAGS_SHIFT) {
	case FLAG_FREE:
		return LIST_FREE;
	case FLAG_FULL:
		return LIST_FULL;
	case FLAG_NONFULL:
		return LIST_NONFULL + order;
	default:
		return LIST_FRAG + order;
	}
}

static void list_append(device *d, u32 which, u32 c)
{
	u32 *next = words(d) + d->o_cluster_next, *prev = words(d) + d->o_cluster_prev;
	u32 tail = words(d)[W_LIST_TAIL + which];

	prev[c] = tail;
	next[c] = NIL;
	if (tail == NIL)
		words(d)[W_LIST_HEAD + which] = c;
	else
		next[tail] = c;
	words(d)[W_LIST_TAIL + which] = c;
	if (which >= LIST_FRAG)
		words(d)[W_FRAG_NR + which - LIST_FRAG]++;
}

static void list_remove(device *d, u32 which, u32 c)
{
	u32 *next = words(d) + d->o_cluster_next, *prev = words(d) + d->o_cluster_prev;
	u32 before = prev[c], after = next[c];

	if (before == NIL)
		words(d)[W_LIST_HEAD + which] = after;
	else
		next[before] = after;
	if (after == NIL)
		words(d)[W_LIST_TAIL + which] = before;
	else
		prev[after] = before;
	if (which >= LIST_FRAG)
		words(d)[W_FRAG_NR + which - LIST_FRAG]--;
}

static void cluster_set(device *d, u32 c, u32 used, u32 order, u32 flags)
{
	u32 old = list_of(clusters(d)[c]);
	u32 info = used | order << CLUSTER_ORDER_SHIFT | flags << CLUSTER_FLAGS_SHIFT;

	clusters(d)[c] = info;
	list_remove(d, old, c);
	list_append(d, list_of(info), c);
}

static void cluster_take(device *d, u32 c, u32 n, u32 order)
{
	u32 info = clusters(d)[c];
	u32 flags = info >> CLUSTER_FLAGS_SHIFT;
	u32 used = (info & CLUSTER_COUNT) + n;
	u32 own = flags == FLAG_FREE ? order : info >> CLUSTER_ORDER_SHIFT & 15;

	if (used == CLUSTER_SLOTS)
		cluster_set(d, c, used, own, FLAG_FULL);
	else if (flags == FLAG_FREE)
		cluster_set(d, c, used, own, FLAG_NONFULL);
	else
		clusters(d)[c] = info + n;
}

static void cluster_give(device *d, u32 c, u32 n)
{
	u32 info = clusters(d)[c];
	u32 used = (info & CLUSTER_COUNT) - n;

	if (used == 0)
		cluster_set(d, c, 0, 0, FLAG_FREE);
	else if (info >> CLUSTER_FLAGS_SHIFT == FLAG_NONFULL)
		clusters(d)[c] = info - n;
	else
		cluster_set(d, c, used, info >> CLUSTER_ORDER_SHIFT & 15, FLAG_NONFULL);
}

/* ---- zram: same-filled pages only ---- */

static void zram_free(device *d, u32 slot, u32 n)
{
	u32 *stored_at = words(d) + d->o_stored;
	u32 stored = 0;

	for (u32 i = slot; i < slot + n; i++) {
		if (stored_at[i] == CONTENT_NONE)
			continue;
		stored_at[i] = CONTENT_NONE;
		stored++;
	}
	count(d, PAGES_STORED, -(u64)stored);
	count(d, SAME_PAGES, -(u64)stored);
}

static void zram_write(device *d, u32 slot, const u32 *content_of, u32 n)
{
	u32 *stored_at = words(d) + d->o_stored;

	if (d->n_zclasses)
		fail(d, NOT_IN_REFERENCE, slot);
	for (u32 i = 0; i < n; i++) {
		if (stored_at[slot + i] != CONTENT_NONE)
			zram_free(d, slot + i, 1);
		stored_at[slot + i] = content_of[i];
	}
	count(d, PAGES_STORED, n);
	count(d, SAME_PAGES, n);
}

/* ---- release of slots ---- */

static inline bool vm_swap_full(const device *d) { return 2 * d->nr_swap_pages < d->pages; }

static inline void zeromap_clear(device *d, u32 slot, u32 n)
{
	uint8_t *map = zeromap(d);
	u32 at = slot, end = slot + n;

	while (at < end) {
		if ((at & 7) == 0 && at + 8 <= end) {
			map[at >> 3] = 0;
			at += 8;
		} else {
			map[at >> 3] &= (uint8_t)~(1u << (at & 7));
			at++;
		}
	}
}

static void range_free(device *d, u32 slot, u32 n)
{
	u32 last = slot + n - 1;

	memset(swap_map(d) + slot, 0, n);
	cluster_give(d, slot / CLUSTER_SLOTS, n);
	zeromap_clear(d, slot, n);
	count(d, NOTIFY_FREE, n);
	zram_free(d, slot, n);
	if (slot < d->lowest_bit)
		d->lowest_bit = slot;
	if (last > d->highest_bit)
		d->highest_bit = last;
	d->nr_swap_pages += n;
	d->inuse -= n;
}

/* Free the `n` slots that a slot cache lists; slots that follow each other, together. */
static void free_listed(device *d, const u32 *slots, u32 n)
{
	while (n > 0) {
		u32 slot = slots[0];
		u32 room = CLUSTER_SLOTS - slot % CLUSTER_SLOTS;
		u32 run = 1;

		if (room > n)
			room = n;
		while (run < room && slots[run] == slot + run)
			run++;
		range_free(d, slot, run);
		slots += run;
		n -= run;
	}
}

/* Free `n` slots, or park them in this CPU's return cache. */
static void free_swap_slots(device *d, u32 slot, u32 n)
{
	if (!d->cache_active || !d->cache_enabled) {
		while (n > 0) {
			u32 part = CLUSTER_SLOTS - slot % CLUSTER_SLOTS;

			if (part > n)
				part = n;
			range_free(d, slot, part);
			slot += part;
			n -= part;
		}
		return;
	}
	u32 *cpu = this_cpu(d);
	u32 held = cpu[CPU_RET_NR];
	for (; n > 0; n--) {
		if (held == SWAP_BATCH) {
			free_listed(d, cpu + CPU_RET, held);
			held = 0;
		}
		cpu[CPU_RET + held++] = slot++;
	}
	cpu[CPU_RET_NR] = held;
}

/* Drop one PTE count from each of `n` slots. */
static inline void drop_counts(device *d, u32 slot, u32 n)
{
	uint8_t *map = swap_map(d) + slot;
	u32 run;

	for (u32 i = 0; i < n; i += run + 1) {
		for (run = 0; i + run < n; run++) {
			map[i + run] = (map[i + run] & MAP_COUNT) - 1;
			if (map[i + run] != 0)
				break;
			map[i + run] = HAS_CACHE;
		}
		if (run > 0)
			free_swap_slots(d, slot + i, run);
	}
}

/* Release the slots of a run of zapped PTEs. */
static void zap_entries(device *d, u32 slot, u32 n)
{
	uint8_t *map = swap_map(d) + slot;
	uint8_t first = map[0];
	bool batch = n >= 2 && (first & MAP_COUNT) == 1;

	if (batch && slot / CLUSTER_SLOTS != (slot + n - 1) / CLUSTER_SLOTS)
		batch = false;
	if (batch) {
		for (u32 i = 1; i < n; i++)
			if (map[i] != first)
				batch = false;
	}
	if (batch) {
		memset(map, HAS_CACHE, n);
		range_free(d, slot, n);
	} else {
		drop_counts(d, slot, n);
	}
}

/* ---- the cluster allocator ---- */

static void reclaim_full_cluster(device *d)
{
	u32 c = list_head(d, LIST_FULL);

	/* What is left with an empty swap cache: the list turns by one. */
	if (c != NIL) {
		list_remove(d, LIST_FULL, c);
		list_append(d, LIST_FULL, c);
	}
}

static void reclaim_worker(device *d)
{
	u32 passes = d->inuse / CLUSTER_SLOTS;

	d->reclaim_pending = 0;
	if (passes == 0)
		passes = 1;
	while (passes--)
		reclaim_full_cluster(d);
}

/* Whether one of `n` bytes, 1 or an aligned power of two from 4 on, is not zero. */
static inline bool bytes_any(const uint8_t *at, u32 n)
{
	if (n == 1)
		return *at != 0;
	if (n == 4)
		return *(const u32_bytes *)at != 0;
	for (u32 i = 0; i < n; i += 8)
		if (*(const u64_bytes *)(at + i))
			return true;
	return false;
}

static void count_taken(device *d, u32 n)
{
	d->inuse += n;
	if (d->inuse == d->pages) {
		d->lowest_bit = d->n_slots;
		d->highest_bit = 0;
		if (vm_swap_full(d))
			d->reclaim_pending = 1;
	}
}

static void take_slots(device *d, u32 c, u32 slot, u32 n, u32 order)
{
	memset(swap_map(d) + slot, HAS_CACHE, n);
	cluster_take(d, c, n, order);
	if (slot == d->lowest_bit)
		d->lowest_bit = slot + n;
	if (slot + n - 1 == d->highest_bit)
		d->highest_bit -= n;
	count_taken(d, n);
}

/* Take 2^order slots of a cluster from `start` on; the first of them, or 0. */
static u32 scan_cluster(device *d, u32 c, u32 start, u32 order)
{
	u32 n = 1u << order;
	u32 end = c * CLUSTER_SLOTS + CLUSTER_SLOTS;

	if ((clusters(d)[c] & CLUSTER_COUNT) + n > CLUSTER_SLOTS)
		return 0;
	if (end > d->n_slots)
		end = d->n_slots;
	for (u32 slot = start; slot + n <= end; slot += n) {
		if (!bytes_any(swap_map(d) + slot, n)) {
			take_slots(d, c, slot, n, order);
			return slot;
		}
	}
	return 0;
}

static u32 scan_whole_cluster(device *d, u32 c, u32 order) { return scan_cluster(d, c, c * CLUSTER_SLOTS, order); }

/* The search of alloc_entry: the first of 2^order slots taken, or 0. */
static u32 find_entry(device *d, u32 order, u32 at)
{
	u32 c, found, tried = 0;

	if (at != 0 && (found = scan_cluster(d, at / CLUSTER_SLOTS, at, order)))
		return found;
	c = list_head(d, LIST_FREE);
	if (c != NIL && (found = scan_whole_cluster(d, c, order)))
		return found;
	if (vm_swap_full(d))
		reclaim_full_cluster(d);
	if (order < MAX_ORDER) {
		while ((c = list_head(d, LIST_NONFULL + order)) != NIL) {
			tried++;
			cluster_set(d, c, clusters(d)[c] & CLUSTER_COUNT, order, FLAG_FRAG);
			if ((found = scan_whole_cluster(d, c, order)))
				return found;
		}
		while (tried < words(d)[W_FRAG_NR + order]) {
			tried++;
			c = list_head(d, LIST_FRAG + order);
			list_remove(d, LIST_FRAG + order, c);
			list_append(d, LIST_FRAG + order, c);
			if ((found = scan_whole_cluster(d, c, order)))
				return found;
		}
	}
	if (order > 0)
		return 0;
	for (u32 victim = 1; victim <= MAX_ORDER; victim++) {
		/* A cluster here has a free slot, so the first one answers. */
		while ((c = list_head(d, LIST_FRAG + victim)) != NIL || (c = list_head(d, LIST_NONFULL + victim)) != NIL)
			if ((found = scan_whole_cluster(d, c, 0)))
				return found;
	}
	return 0;
}

/* Keep the slot from which a CPU goes on in a cluster, unless it is full or has no room for `n` behind it. */
static void stay_at(device *d, u32 *next, u32 c, u32 after, u32 n)
{
	u32 end = c * CLUSTER_SLOTS + CLUSTER_SLOTS;

	if (end > d->n_slots)
		end = d->n_slots;
	*next = (clusters(d)[c] & CLUSTER_COUNT) == CLUSTER_SLOTS || after + n > end ? 0 : after;
}

static u32 alloc_entry(device *d, u32 order)
{
	u32 n = 1u << order;
	u32 *next = this_cpu(d) + order;
	u32 found = find_entry(d, order, *next);

	if (found == 0) {
		*next = 0;
		return 0;
	}
	stay_at(d, next, found / CLUSTER_SLOTS, found + n, n);
	return found;
}

/* Take up to `goal` further single slots where this CPU's cluster for them stands; their number. */
static u32 take_more(device *d, u32 *slots, u32 goal)
{
	u32 *next = this_cpu(d);
	u32 at = *next, after = at, got = 0;

	if (at == 0)
		return 0;
	u32 c = at / CLUSTER_SLOTS;
	u32 end = c * CLUSTER_SLOTS + CLUSTER_SLOTS;

	if (end > d->n_slots)
		end = d->n_slots;
	for (; at < end && got < goal; at++) {
		if (swap_map(d)[at])
			continue;
		swap_map(d)[at] = HAS_CACHE;
		slots[got++] = at;
		after = at + 1;
		if (at == d->lowest_bit)
			d->lowest_bit = after;
		if (at == d->highest_bit)
			d->highest_bit--;
	}
	if (got > 0) {
		cluster_take(d, c, got, 0);
		count_taken(d, got);
		stay_at(d, next, c, after, 1);
	}
	return got;
}

static u32 get_swap_pages(device *d, u32 goal, u32 order, u32 *slots)
{
	u32 available = d->nr_swap_pages >> order;
	u32 got = 0;

	if (available == 0)
		return 0;
	if (goal > SWAP_BATCH)
		goal = SWAP_BATCH;
	if (goal > available)
		goal = available;
	d->nr_swap_pages -= goal << order;
	if (d->highest_bit != 0) {
		while (got < goal) {
			u32 slot = alloc_entry(d, order);

			if (slot == 0)
				break;
			slots[got++] = slot;
			if (order == 0)
				got += take_more(d, slots + got, goal - got);
		}
	}
	d->nr_swap_pages += (goal - got) << order;
	return got;
}

/* ---- slot caches ---- */

static void drain_caches(device *d)
{
	for (u32 i = 0; i < d->n_cpus; i++) {
		u32 *cpu = words(d) + d->o_cpu + i * CPU_WORDS;
		u32 cur = cpu[CPU_ALLOC_CUR], n = cpu[CPU_ALLOC_NR];

		cpu[CPU_ALLOC_CUR] = 0;
		cpu[CPU_ALLOC_NR] = 0;
		free_listed(d, cpu + CPU_ALLOC + cur, n);
		free_listed(d, cpu + CPU_RET, cpu[CPU_RET_NR]);
		cpu[CPU_RET_NR] = 0;
	}
}

static bool check_cache_active(device *d)
{
	if (!d->cache_enabled)
		return false;
	if (!d->cache_active) {
		if (d->nr_swap_pages > 5 * SWAP_BATCH * d->n_cpus)
			d->cache_active = 1;
	} else if (d->nr_swap_pages < 2 * SWAP_BATCH * d->n_cpus) {
		d->cache_active = 0;
		drain_caches(d);
	}
	return d->cache_active;
}

static u32 folio_alloc_swap(device *d, u32 order)
{
	u32 *cpu = this_cpu(d);

	if (order == 0 && check_cache_active(d)) {
		if (cpu[CPU_ALLOC_NR] == 0) {
			cpu[CPU_ALLOC_NR] = get_swap_pages(d, SWAP_BATCH, 0, cpu + CPU_ALLOC);
			cpu[CPU_ALLOC_CUR] = 0;
		}
		if (cpu[CPU_ALLOC_NR] > 0) {
			cpu[CPU_ALLOC_NR]--;
			return cpu[CPU_ALLOC + cpu[CPU_ALLOC_CUR]++];
		}
	}
	return get_swap_pages(d, 1, order, cpu + CPU_SLOT) ? cpu[CPU_SLOT] : 0;
}

/* ---- swap-out ---- */

static bool all_zero(device *d, u32 head, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (contents(d)[head + i] != CONTENT_ZERO)
			return false;
	return true;
}

static void write_out(device *d, u32 head, u32 order, u32 slot)
{
	u32 n = 1u << order;

	count(d, NR_VMSCAN_WRITE, n);
	if (all_zero(d, head, n)) {
		for (u32 at = slot; at < slot + n; at++)
			zeromap(d)[at >> 3] |= 1u << (at & 7);
		count(d, SWPOUT_ZERO, n);
		return;
	}
	count_mthp(d, order, SWPOUT, 1);
	count(d, PSWPOUT, n);
	zram_write(d, slot, contents(d) + head, n);
}

static bool swap_out(device *d, u32 p, u32 *pte, u32 head, u32 order)
{
	u32 n = 1u << order;
	u32 slot = folio_alloc_swap(d, order);

	if (slot == 0)
		return false;
	for (u32 i = 0; i < n; i++)
		pte[i] = PTE_SWAP | (pte[i] & PTE_EXCLUSIVE) | (slot + i);
	account(d, p, -n, n);
	memset(mapcounts(d) + head, 0, n);
	count(d, PAGE_EVENTS, n);
	count(d, SWAPOUT_FOLIOS, 1);
	write_out(d, head, order, slot);
	memset(swap_map(d) + slot, 1, n);
	folio_free(d, head, order);
	return true;
}

/* Split a folio that reclaim holds: every page goes on as an order-0 folio. */
static void split_folio(device *d, const u32 *pte, u32 head, u32 order)
{
	u32 n = 1u << order;
	u32 dirty = 0;

	/* Mapped by more than one PTE, it looks partially mapped while the first ones are taken away. */
	count_mthp(d, order, SPLIT_DEFERRED, 1);
	count_mthp(d, order, NR_ANON, -1);
	count_mthp(d, order, SPLIT, 1);
	for (u32 i = 0; i < n; i++) {
		dirty |= pte[i] & PTE_DIRTY;
		if (contents(d)[head + i] == CONTENT_ZERO)
			fail(d, NOT_IN_REFERENCE, head + i);
	}
	fill(frames(d) + head, n, (frames(d)[head] & FRAME_DIRTY) | (dirty ? FRAME_DIRTY : 0));
}

static void reclaim_folio(device *d, u32 p, u32 *pte, u32 head, u32 order)
{
	u32 n = 1u << order;
	u32 piece = order;
	u32 done = 0;

	while (done < n) {
		if (swap_out(d, p, pte + done, head + done, piece)) {
			done += 1u << piece;
		} else if (piece > 0) {
			split_folio(d, pte, head, order);
			count_mthp(d, order, SWPOUT_FALLBACK, 1);
			piece = 0;
		} else {
			count(d, PGACTIVATE, 1);
			done++;
		}
		if (d->reclaim_pending)
			reclaim_worker(d);
	}
}

/* Length of the run of at most `n` PTEs that map consecutive frames from the first one's on. */
static u32 present_run(const u32 *pte, u32 n)
{
	u32 frame = pte[0] & PTE_PAYLOAD;
	u32 length = 1;
	u32 differ = 0;

	/* Mostly the whole folio is mapped, and one comparison without a branch inside finds that. */
	for (u32 i = 0; i < n; i++)
		differ |= (pte[i] ^ (pte[0] + i)) & KIND_AND_PAYLOAD;
	if (!differ)
		return n;
	while (length < n && pte[length] >> KIND_SHIFT == PRESENT && (pte[length] & PTE_PAYLOAD) == frame + length)
		length++;
	return length;
}

static void reclaim_range(device *d, u32 p, u32 *pte, u32 page, u32 end)
{
	while (page < end) {
		u32 run = 1;

		if (pte[page] >> KIND_SHIFT == PRESENT) {
			u32 frame = pte[page] & PTE_PAYLOAD;
			u32 order = frame_order(d, frame);
			u32 head = frame >> order << order;
			u32 n = 1u << order;

			if (order > 0) {
				u32 limit = n - (frame - head);
				run = present_run(pte + page, limit < end - page ? limit : end - page);
			}
			if (run < n)
				fail(d, NOT_IN_REFERENCE, head);
			else if (folio_mapped(d, head, order) == n)
				reclaim_folio(d, p, pte + page, head, order);
		}
		page += run;
	}
}

/* First page behind the 2 MiB range around `page`, at most `end`. */
static u32 pmd_end(const u32 *vma, u32 page, u32 end)
{
	u32 next = ((vma[VMA_START] + page) / PMD_PAGES + 1) * PMD_PAGES - vma[VMA_START];

	return next < end ? next : end;
}

static uint8_t *pmd_at(device *d, const u32 *vma, u32 page)
{
	u32 start = vma[VMA_START];

	return bytes(d) + d->o_pmd + vma[VMA_PMD] + (start + page) / PMD_PAGES - start / PMD_PAGES;
}

static void madvise_pageout(device *d, u32 p, const u32 *vma, u32 page, u32 pages)
{
	u32 end = page + pages;

	while (page < end) {
		u32 stop = pmd_end(vma, page, end);

		reclaim_range(d, p, region_ptes(d, vma), page, stop);
		page = stop;
	}
}

/* ---- zaps ---- */

static void folio_unmap(device *d, u32 frame, u32 n)
{
	uint8_t *mapped = mapcounts(d) + frame;
	u32 order = frame_order(d, frame);
	u32 gone = 0;

	for (u32 i = 0; i < n; i++)
		gone += --mapped[i] == 0;
	if (gone > 0 && gone < 1u << order && folio_mapped(d, frame >> order << order, order) > 0)
		fail(d, NOT_IN_REFERENCE, frame);
}

static void zap_pages(device *d, u32 p, const u32 *vma, u32 page, u32 pages)
{
	u32 *pte = region_ptes(d, vma);
	u32 end = page + pages;

	while (page < end) {
		u32 stop = pmd_end(vma, page, end);

		while (page < stop) {
			u32 first = pte[page];
			u32 n = 1;

			if (first >> KIND_SHIFT == SWAP) {
				while (page + n < stop && pte[page + n] == first + n)
					n++;
				zap_entries(d, first & PTE_PAYLOAD, n);
				account(d, p, 0, -n);
				fill(pte + page, n, 0);
				count(d, PAGE_EVENTS, n);
			} else if (first >> KIND_SHIFT == PRESENT) {
				u32 frame = first & PTE_PAYLOAD;
				u32 order = frame_order(d, frame);
				u32 head = frame >> order << order;
				u32 limit = (1u << order) - (frame - head);

				n = present_run(pte + page, limit < stop - page ? limit : stop - page);
				folio_unmap(d, frame, n);
				account(d, p, -n, 0);
				count(d, PAGE_EVENTS, n);
				fill(pte + page, n, 0);
				if (folio_mapped(d, head, order) == 0)
					folio_free(d, head, order);
			}
			page += n;
		}
	}
}

/* ---- orders of a fault ---- */

static u32 allowed_orders(const device *d, const u32 *vma)
{
	bool advised = vma[VMA_FLAGS] & VMA_HUGEPAGE;
	u32 orders = d->thp_always;

	if (vma[VMA_FLAGS] & VMA_NOHUGEPAGE)
		return 0;
	if (advised)
		orders |= d->thp_madvise;
	if (d->thp_global == THP_ALWAYS || (advised && d->thp_global != THP_NEVER))
		orders |= d->thp_inherit;
	return orders;
}

/* First page of the aligned block around `page`; whether the region holds all of the block. */
static bool block_start(const u32 *vma, u32 page, u32 order, u32 *first)
{
	u32 n = 1u << order;
	u32 offset = (vma[VMA_START] + page) & (n - 1);

	*first = page - offset;
	return page >= offset && *first + n <= vma[VMA_PAGES];
}

/* ---- anonymous faults ---- */

static u32 anon_order(device *d, const u32 *vma, u32 page)
{
	u32 orders = allowed_orders(d, vma) & FAULT_ORDERS;

	for (u32 order = 8; order >= 2; order--) {
		u32 first, seen = 0;

		if (!(orders >> order & 1) || !block_start(vma, page, order, &first))
			continue;
		for (u32 i = 0; i < 1u << order; i++)
			seen |= region_ptes(d, vma)[first + i];
		if (seen == 0)
			return order;
	}
	return 0;
}

static bool anon_fault(device *d, u32 p, u32 *vma, u32 page)
{
	uint8_t *pmd = pmd_at(d, vma, page);

	if (*pmd == PMD_NONE) {
		if (allowed_orders(d, vma) >> MAX_ORDER & 1) {
			fail(d, NOT_IN_REFERENCE, MAX_ORDER);
			return false;
		}
		*pmd = PMD_TABLE;
	}
	vma[VMA_FLAGS] |= VMA_ANON;
	u32 order = anon_order(d, vma, page);
	u32 n = 1u << order;
	u32 head = folio_new(d, order);
	u32 first = page - ((vma[VMA_START] + page) & (n - 1));

	if (head == FRAME_NIL)
		return false;
	fill(contents(d) + head, n, CONTENT_ZERO);
	memset(mapcounts(d) + head, 1, n);
	fill_ascending(region_ptes(d, vma) + first, n, PTE_PRESENT | PTE_EXCLUSIVE | PTE_DIRTY | head);
	account(d, p, n, 0);
	count(d, PAGE_EVENTS, n);
	count(d, FAULT_PAGES, n);
	count(d, ANON_PAGES, n);
	count_mthp(d, order, ANON_FAULT_ALLOC, 1);
	count_mthp(d, order, NR_ANON, 1);
	return true;
}

/* ---- swap-in ---- */

static bool zeromap_mixed(device *d, u32 slot, u32 n)
{
	const uint8_t *at = zeromap(d) + (slot >> 3);

	if (n == 4) {
		u32 nibble = *at >> (slot & 4) & 15;
		return nibble != 0 && nibble != 15;
	}
	if (*at != 0 && *at != 255)
		return true;
	for (u32 i = 1; i < n >> 3; i++)
		if (at[i] != *at)
			return true;
	return false;
}

/* Whether `n` PTEs are one batch from `first` on, with a uniform zeromap and no slot in the swap cache. */
static bool block_ok(device *d, const u32 *pte, u32 first, u32 n)
{
	u32 slot = first & PTE_PAYLOAD;
	u32 differ = 0, seen = 0;

	for (u32 i = 0; i < n; i++)
		differ |= pte[i] ^ (first + i);
	if (differ || zeromap_mixed(d, slot, n))
		return false;
	for (u32 i = 0; i < n; i += 4)
		seen |= *(const u32_bytes *)(swap_map(d) + slot + i);
	return !(seen & 0x40404040);
}

static u32 swapin_order(device *d, const u32 *vma, u32 page, u32 pte)
{
	if (d->zswap_ever)
		return 0;
	u32 orders = allowed_orders(d, vma) & FAULT_ORDERS;
	u32 differing = (vma[VMA_START] + page) ^ (pte & PTE_PAYLOAD);

	for (u32 order = 8; order >= 2; order--) {
		u32 first, n = 1u << order;

		if (orders >> order & 1 && !(differing & (n - 1)) && block_start(vma, page, order, &first) &&
		    block_ok(d, region_ptes(d, vma) + first, pte - (page - first), n))
			return order;
	}
	return 0;
}

static void swapin_read(device *d, u32 head, u32 slot, u32 n)
{
	const u32 *stored_at = words(d) + d->o_stored + slot;
	u32 *content = contents(d) + head;

	if (n > 1 && zeromap_mixed(d, slot, n)) {
		fail(d, NOT_IN_REFERENCE, slot);
	} else if (zeromap(d)[slot >> 3] >> (slot & 7) & 1) {
		fill(content, n, CONTENT_ZERO);
		count(d, SWPIN_ZERO, n);
		return;
	}
	for (u32 i = 0; i < n; i++)
		content[i] = stored_at[i] == CONTENT_NONE ? CONTENT_ZERO : stored_at[i];
	count(d, PSWPIN, n);
}

static void release_read_slots(device *d, u32 slot, u32 n)
{
	if (n >= 4 && !d->cache_active) {
		u32 seen = 0;

		for (u32 i = 0; i < n; i += 4)
			seen |= *(const u32_bytes *)(swap_map(d) + slot + i);
		if ((seen & 0x3F3F3F3F) == 0x01010101) {
			range_free(d, slot, n);
			return;
		}
	}
	drop_counts(d, slot, n);
}

static bool swap_fault(device *d, u32 p, const u32 *vma, u32 page)
{
	u32 pte = region_ptes(d, vma)[page];
	u32 order, n, head, slot, first;

	if (swap_map(d)[pte & PTE_PAYLOAD] != 1) {
		fail(d, NOT_IN_REFERENCE, pte);
		return false;
	}
	order = swapin_order(d, vma, page, pte);
	n = 1u << order;
	head = folio_new(d, order);
	if (head == FRAME_NIL)
		return false;
	slot = (pte & PTE_PAYLOAD) >> order << order;
	swapin_read(d, head, slot, n);
	count(d, PGMAJFAULT, 1);
	first = page - ((vma[VMA_START] + page) & (n - 1));
	fill_ascending(region_ptes(d, vma) + first, n, PTE_PRESENT | PTE_EXCLUSIVE | PTE_DIRTY | head);
	memset(mapcounts(d) + head, 1, n);
	account(d, p, n, -n);
	count_mthp(d, order, NR_ANON, 1);
	count(d, PAGE_EVENTS, n);
	count(d, FAULT_PAGES, n);
	release_read_slots(d, slot, n);
	return true;
}

/* ---- faults and operations ---- */

static bool handle_write_fault(device *d, u32 p, u32 *vma, u32 page)
{
	u32 kind = region_ptes(d, vma)[page] >> KIND_SHIFT;

	if (kind == SWAP) {
		if (!swap_fault(d, p, vma, page))
			return false;
		count(d, PGFAULT, 1);
		d->op_majflt++;
		process(d, p)[PROC_MAJFLT]++;
	} else if (kind == NONE) {
		if (!anon_fault(d, p, vma, page))
			return false;
		count(d, PGFAULT, 1);
		d->op_minflt++;
	} else {
		fail(d, NOT_IN_REFERENCE, page);
		return false;
	}
	if (d->reclaim_pending)
		reclaim_worker(d);
	return true;
}

static void write_pages(device *d, u32 p, u32 *vma, u32 page, u32 pages, u32 entry, u32 advance)
{
	u32 *pte = region_ptes(d, vma);
	const u32 *content_map = words(d) + d->o_content_map + entry;

	count(d, PAGE_EVENTS, pages);
	for (u32 at = page; at < page + pages; at++) {
		if (pte[at] >> KIND_SHIFT != PRESENT || !(pte[at] & PTE_EXCLUSIVE))
			if (!handle_write_fault(d, p, vma, at))
				return;
		pte[at] |= PTE_DIRTY;
		contents(d)[pte[at] & PTE_PAYLOAD] = content_map[at * advance];
	}
}

static void philox4x32(u32 x[4], u32 k0, u32 k1)
{
	for (int round = 0; round < 10; round++) {
		u64 product0 = (u64)0xD2511F53 * x[0], product1 = (u64)0xCD9E8D57 * x[2];

		x[0] = (u32)(product1 >> 32) ^ x[1] ^ k0;
		x[1] = (u32)product1;
		x[2] = (u32)(product0 >> 32) ^ x[3] ^ k1;
		x[3] = (u32)product0;
		k0 += 0x9E3779B9;
		k1 += 0xBB67AE85;
	}
}

/* State of rand(): 31 words of table, then the position. */
static u32 glibc_next(u32 *state)
{
	u32 rear = state[31];
	u32 front = rear + 3 < 31 ? rear + 3 : rear + 3 - 31;
	u32 value = state[front] += state[rear];

	state[31] = rear + 1 < 31 ? rear + 1 : 0;
	return value >> 1;
}

static void glibc_seed(u32 *state, u32 seed)
{
	int32_t word = seed ? seed : 1;

	state[0] = word;
	for (int i = 1; i < 31; i++) {
		word = 16807 * (word % 127773) - 2836 * (word / 127773);
		if (word < 0)
			word += 2147483647;
		state[i] = word;
	}
	state[31] = 0;
	for (int i = 0; i < 310; i++)
		glibc_next(state);
}

static void random_walk(device *d, u32 p, u32 *vma, u32 pages, u32 steps, bool discard, u32 entry, u32 advance)
{
	u32 blocks = vma[VMA_PAGES] / pages;
	u32 *proc = process(d, p);
	u32 draw = proc[PROC_DRAWS];
	u32 random[4] = {0};

	for (u32 step = 0; step < steps; step++) {
		u32 page;

		if (!d->random_philox) {
			page = glibc_next(proc + PROC_RAND) % blocks * pages;
		} else {
			if (step == 0 || (draw & 3) == 0) {
				random[0] = draw >> 2;
				random[1] = 0;
				random[2] = p & 0xFFFFFF;
				random[3] = d->device_id;
				philox4x32(random, d->seed_lo, d->seed_hi);
			}
			page = (u32)((u64)random[draw & 3] * blocks >> 32) * pages;
			draw++;
		}
		if (discard)
			zap_pages(d, p, vma, page, pages);
		write_pages(d, p, vma, page, pages, entry, advance);
	}
	proc[PROC_DRAWS] = draw;
}

static void create_process(device *d, u32 p)
{
	u32 *proc = process(d, p);

	proc[PROC_USED] = 1;
	proc[PROC_CPU] = 0;
	proc[PROC_MAJFLT] = 0;
	proc[PROC_DRAWS] = 0;
	proc[PROC_ANONPAGES] = 0;
	proc[PROC_SWAPENTS] = 0;
	proc[PROC_SERIAL] = d->procs_made++;
	proc[PROC_SCALE] = SCALE_ONE;
	glibc_seed(proc + PROC_RAND, 1);
}

static void map_region(device *d, u32 p, const u32 *op)
{
	u32 *vma = region(d, p, op[2]);
	const u32 *proc = process(d, p);

	vma[VMA_FLAGS] = op[5] | VMA_USED;
	vma[VMA_START] = op[4];
	vma[VMA_PAGES] = op[3];
	vma[VMA_PTE] = proc[PROC_PTE] + op[6];
	vma[VMA_PMD] = proc[PROC_PMD] + op[7];
	vma[VMA_RA_PAGE] = 0;
	vma[VMA_RA_WIN] = 0;
	vma[VMA_RA_HITS] = RA_HITS_INITIAL;
}

static void execute(device *d, const u32 *op)
{
	u32 p = op[1];
	u32 *vma = region(d, p, op[2]);

	d->op_errno = 0;
	d->op_minflt = 0;
	d->op_majflt = 0;
	d->op_bad = 0;
	d->proc = p;
	if (op[0] != OP_PROC)
		d->cpu = process(d, p)[PROC_CPU];
	switch (op[0]) {
	case OP_PROC:
		create_process(d, p);
		break;
	case OP_MAP:
		map_region(d, p, op);
		break;
	case OP_CPU:
		process(d, p)[PROC_CPU] = op[2];
		break;
	case OP_THP:
		d->thp_always = op[2];
		d->thp_madvise = op[3];
		d->thp_inherit = op[4];
		d->thp_global = op[5];
		break;
	case OP_SRAND:
		glibc_seed(process(d, p) + PROC_RAND, op[2]);
		break;
	case OP_TOUCH:
		if (op[5] == MODE_WRITE)
			write_pages(d, p, vma, op[3], op[4], op[6], op[7]);
		else
			fail(d, NOT_IN_REFERENCE, op[5]);
		break;
	case OP_RANDOM:
		random_walk(d, p, vma, op[3], op[4], op[5], op[6], op[7]);
		break;
	case OP_PAGEOUT:
		madvise_pageout(d, p, vma, op[3], op[4]);
		break;
	case OP_DONTNEED:
		zap_pages(d, p, vma, op[3], op[4]);
		break;
	default:
		fail(d, NOT_IN_REFERENCE, op[0]);
	}
	if (d->reclaim_pending)
		reclaim_worker(d);
}

/* Run the operations `op_first` to `op_end` - 1 on the devices `first` to `end` - 1, each up to its first error. */
void run_devices(uint8_t *arena, const int64_t *base, int64_t first, int64_t end, const u32 *program, int64_t op_first,
		 int64_t op_end)
{
	for (int64_t i = first; i < end; i++) {
		device *d = (device *)(arena + base[i] * HEADER_BYTES);

		for (int64_t row = op_first; row < op_end && !d->error; row++)
			execute(d, program + row * OP_WORDS);
	}
}
