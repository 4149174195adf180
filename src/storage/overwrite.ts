/** The least change of a tree: a value takes the place of one of its length, so that nothing in the leaf moves. */
import type { ChangedTree, ChangeHands } from './changed-tree.ts'
import type { PageId } from './page-source.ts'

export const notThere = -1

/** Without the way down, where the key's place is known. Returns the length of both values; -1, and nothing is done, where it has to go the long way. @throws PageMiss */
export function overwriteKnown(core: ChangedTree, held: ChangeHands, key: Uint8Array, value: Uint8Array): number {
  const { pages, places } = core
  const page = places?.find(key, places.shape) ?? 0
  if (places === undefined || page === 0) return notThere
  const { slot } = places
  const frame = held.hold(page)
  const stands = pages.stands(frame * pages.pageBytes, slot, key, core)
  const length = stands ? overwrite(core, held, page, frame, slot, value) : notThere
  if (length === notThere) held.finish()
  return length
}

/** In a leaf that is held. Returns as `overwriteKnown`. */
export function overwrite(
  core: ChangedTree,
  held: ChangeHands,
  page: PageId,
  frame: number,
  slot: number,
  value: Uint8Array,
): number {
  const { pages } = core
  const cell = pages.cell(frame * pages.pageBytes, slot)
  const length = pages.valueBytes(cell)
  if (pages.isLong(cell) || length !== value.length) return notThere
  held.reserve(0)
  held.edit(page, frame)
  pages.bytes.set(value, pages.inlineValue(cell))
  return length
}
