/** Checks the page file of a store: every extent that the newest checkpoint reaches, and every page of its tree. Changes nothing. */
import type { HarmonyError } from '../base/errors.ts'
import type { Index } from '../base/ids.ts'
import type { PageFile } from '../platform.ts'
import { type CheckpointNote, decodeCheckpointNote } from '../shard/checkpoint-note.ts'
import { BTree } from '../storage/btree.ts'
import type { TreeReport } from '../storage/btree-verify.ts'
import { BufferPool } from '../storage/buffer-pool.ts'
import { noteKey } from '../storage/note-key.ts'
import { PageStore } from '../storage/page-store.ts'
import { PageWaits } from '../storage/page-waits.ts'
import { decodeMeta, type Meta } from '../storage/paged-engine.ts'
import { type Superblock, SuperblockStore } from '../storage/superblock.ts'

export interface CheckpointReport {
  /** 1 for the first. */
  readonly number: number
  /** Entries through this one are in the pages. */
  readonly applied: Index
  readonly keys: number
  /** Of keys and values. */
  readonly bytes: number
  readonly pages: number
  readonly fileBytes: number
}

export interface CheckedPages {
  /** Undefined: no checkpoint was ever made, or it cannot be read. */
  readonly checkpoint: CheckpointReport | undefined
  readonly note: CheckpointNote | undefined
}

const frames = 256
const nothing: CheckedPages = { checkpoint: undefined, note: undefined }

/** `damaged` is called for whatever is wrong. */
export function checkPages(
  pages: PageFile,
  superblock: Superblock,
  damaged: (message: string, error?: HarmonyError) => void,
  done: (checked: CheckedPages) => void,
): void {
  const give = (error: HarmonyError): void => {
    damaged(error.message, error)
    done(nothing)
  }
  // Only asked for what is current: it is never written.
  PageStore.open(pages, new SuperblockStore(pages, 0, superblock), {}, opened => {
    if (!opened.ok) return give(opened.error)
    const { store, checkpoint } = opened.value
    if (checkpoint === undefined) return done(nothing)
    const meta = decodeMeta(checkpoint.meta)
    if (!meta.ok) return give(meta.error)
    const found: string[] = []
    store.verify(
      ({ what, offset, problem }) => {
        found.push(what)
        damaged(`${what} at byte ${offset} of the page file: ${problem}`)
      },
      verified => {
        if (!verified.ok) return give(verified.error)
        const pool = new BufferPool({ source: store, frames })
        const tree = new BTree({ pool, source: store, root: meta.value.root })
        const verification = tree.verify()
        const waits = new PageWaits(pool, tree, () => false)
        waits.read(
          () => verification.run(),
          walked => {
            if (!walked.ok) return give(walked.error)
            // What cannot be read was told above.
            if (found.length === 0) checkTree(store, meta.value, walked.value, damaged)
            waits.read(
              () => tree.get(noteKey),
              note => {
                const decoded = note.ok && note.value !== undefined ? decodeCheckpointNote(note.value) : undefined
                if (decoded?.ok === false) damaged(decoded.error.message, decoded.error)
                else if (decoded === undefined && found.length === 0) damaged('the checkpoint has no note')
                const { applied, keys, bytes } = meta.value
                const { fileBytes } = store.stats
                const report = {
                  number: checkpoint.number,
                  applied,
                  keys,
                  bytes,
                  pages: verified.value.pages,
                  fileBytes,
                }
                done({ checkpoint: report, note: decoded?.ok === true ? decoded.value : undefined })
              },
            )
          },
        )
      },
    )
  })
}

function checkTree(store: PageStore, meta: Meta, tree: TreeReport, damaged: (message: string) => void): void {
  for (const problem of tree.problems) damaged(problem)
  if (tree.problems.length > 0) return
  // The note is a key too.
  if (tree.keys !== meta.keys + 1) damaged(`the checkpoint speaks of ${meta.keys} keys, the tree has ${tree.keys - 1}`)
  let lost = 0
  store.forEachPage(page => {
    if (!tree.pages.has(page)) lost++
  })
  if (lost > 0) damaged(`${lost} pages are kept that nothing leads to`)
}
