/**
 * What a peer must know before anything else, in two places of its page file that are written in turn: a crash during one
 * write leaves the other whole. The newest valid one counts. The stride between them is 4096 bytes, or one sector
 * where sectors are larger; nothing else lives in the first two strides.
 *
 * Format: 256 bytes, the rest of the sector zeros; integers little-endian:
 *    0   8  magic "Harmony\n"
 *    8   4  format version, 3 (1 had zeros from byte 88, 2 from byte 108)
 *   12   4  CRC-32C of the 256 bytes with zeros here
 *   16   8  epoch: 1 for the first ever written, one more each time
 *   24   4  page size in bytes, chosen when the file was made
 *   28   1  1: the peer closed in order and wrote nothing since; else 0
 *   29   3  zeros
 *   32  32  seed of the peer's Ed25519 key
 *   64  16  peer id
 *   80   8  the write-ahead log had been durable up to here
 *   88   8  checkpoint: how many the page store has finished; 0: it has no pages yet, then the rest is zeros
 *   96   4  where the root of the page store stands: its first sector,
 *  100   4  how many it has,
 *  104   4  its CRC-32C
 *  108   4  bytes of a sector: of the two above, and wherever the page store counts in sectors
 *  112  16  cluster of which this peer is a member with others; zeros: of none, or written before this was kept
 *  128 128  zeros
 *
 * A later version keeps bytes 0…15 and the length that the checksum covers, so that this one can tell "newer" from "damaged".
 */
import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter, copyBytes } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Lsn, lsn, type PeerId, peerId } from '../base/ids.ts'
import type { Completion, Done, PageFile } from '../platform.ts'

export interface SuperblockFields {
  /** 32 bytes. */
  readonly identitySeed: Uint8Array
  readonly peerId: PeerId
  readonly durableLsn: Lsn
  readonly clean: boolean
  /** The others have what this store has, should it be damaged. */
  readonly company?: ClusterId | undefined
}

/** Where the page store's newest finished checkpoint stands (`page-store.ts`). */
export interface PageRoot {
  /** 1 for the first checkpoint, one more each time. */
  readonly checkpoint: number
  readonly sector: number
  readonly sectors: number
  readonly crc: number
}

export interface Superblock extends SuperblockFields {
  readonly epoch: number
  readonly pageBytes: number
  /** Undefined: not said (formats 1 and 2). */
  readonly sectorBytes: number | undefined
  /** Undefined: no checkpoint was ever finished. */
  readonly root?: PageRoot
}

export interface OpenedSuperblock {
  /** Undefined: the file is new. */
  readonly current: Superblock | undefined
  readonly store: SuperblockStore
}

const magic = new Uint8Array([0x48, 0x61, 0x72, 0x6d, 0x6f, 0x6e, 0x79, 0x0a])
const version = 3
const blockBytes = 256
/** Extents carry the checkpoint's number in 32 bits. */
export const checkpointMax = 0xffff_ffff
const remedy = 'Restore this store from a backup, or delete it and let the peer join again as a new one.'

const strideBytes = (pages: PageFile): number => Math.max(4096, pages.sectorBytes)
/** What lies before this offset belongs to the superblocks. */
export const superblocksBytes = (pages: PageFile): number => 2 * strideBytes(pages)
/** What is written and read at once: whole sectors. */
const extentBytes = (pages: PageFile): number => Math.ceil(blockBytes / pages.sectorBytes) * pages.sectorBytes

/** Errors: CORRUPT, VERSION_MISMATCH, and those of the page file; it stays open then. */
export function openSuperblock(pages: PageFile, done: Completion<OpenedSuperblock>): void {
  pages.read(0, extentBytes(pages), first => {
    if (!first.ok) return done(first)
    pages.read(strideBytes(pages), extentBytes(pages), second => {
      if (!second.ok) return done(second)
      const slots = [decodeSuperblock(first.value), decodeSuperblock(second.value)] as const
      const chosen = choose(slots, pages)
      if (chosen.error !== undefined) return done({ ok: false, error: chosen.error })
      const { slot, current } = chosen
      // What was read may stand in the system's cache only, and the next write goes over the older, durable one.
      pages.sync(error => {
        if (error !== undefined) return done({ ok: false, error })
        done({ ok: true, value: { current, store: new SuperblockStore(pages, slot, current) } })
      })
    })
  })
}

/** Both places as they are, for a check of the file. Changes nothing. Errors: those of the page file. */
export function inspectSuperblocks(
  pages: PageFile,
  done: Completion<readonly [DecodedSuperblock, DecodedSuperblock]>,
): void {
  pages.read(0, extentBytes(pages), first => {
    if (!first.ok) return done(first)
    pages.read(strideBytes(pages), extentBytes(pages), second => {
      if (!second.ok) return done(second)
      done({ ok: true, value: [decodeSuperblock(first.value), decodeSuperblock(second.value)] })
    })
  })
}

export type DecodedSuperblock =
  | { readonly state: 'valid'; readonly block: Superblock }
  /** `empty`: zeros. `foreign`: another magic. `damaged`: ours, and the checksum or a value is wrong. */
  | { readonly state: 'empty' | 'foreign' | 'damaged' | 'newer' }

/** Total; `bytes` beyond the first 256 are not looked at. */
export function decodeSuperblock(bytes: Uint8Array): DecodedSuperblock {
  if (bytes.length < blockBytes) return { state: 'foreign' }
  const block = bytes.subarray(0, blockBytes)
  if (block.every(byte => byte === 0)) return { state: 'empty' }
  if (!magic.every((byte, i) => block[i] === byte)) return { state: 'foreign' }
  const reader = new ByteReader(block, magic.length)
  const writtenVersion = reader.u32()
  if (reader.u32() !== blockCrc(block)) return { state: 'damaged' }
  if (writtenVersion < 1 || writtenVersion > version) {
    return { state: writtenVersion > version ? 'newer' : 'damaged' }
  }
  const epoch = reader.u64()
  const pageBytes = reader.u32()
  const clean = reader.bool()
  reader.raw(3)
  const identitySeed = copyBytes(reader.raw(32))
  const id = peerId(reader.id128())
  const durableLsn = lsn(reader.u64())
  const root = writtenVersion === 1 ? undefined : decodeRoot(reader)
  const sectorBytes = writtenVersion < 3 ? undefined : reader.u32()
  const company = writtenVersion < 3 ? nobodys : reader.id128()
  if (reader.failed || epoch === 0 || pageBytes === 0 || sectorBytes === 0) return { state: 'damaged' }
  const base = { epoch, pageBytes, sectorBytes, clean, identitySeed, peerId: id, durableLsn }
  const found = company === nobodys ? base : { ...base, company: clusterId(company) }
  return { state: 'valid', block: root === undefined ? found : { ...found, root } }
}

function decodeRoot(reader: ByteReader): PageRoot | undefined {
  const checkpoint = reader.u64()
  const root = { checkpoint, sector: reader.u32(), sectors: reader.u32(), crc: reader.u32() }
  if (checkpoint === 0) return undefined
  if (checkpoint > checkpointMax || root.sector === 0 || root.sectors === 0) reader.fail()
  return root
}

const nobodys = '0'.repeat(32)
const noRoot: PageRoot = { checkpoint: 0, sector: 0, sectors: 0, crc: 0 }

export function encodeSuperblock(block: Superblock): Uint8Array {
  const writer = new ByteWriter(blockBytes)
  writer.raw(magic).u32(version).u32(0).u64(block.epoch).u32(block.pageBytes).bool(block.clean).raw(new Uint8Array(3))
  writer.raw(block.identitySeed).id128(block.peerId).u64(block.durableLsn)
  const { checkpoint, sector, sectors, crc } = block.root ?? noRoot
  writer
    .u64(checkpoint)
    .u32(sector)
    .u32(sectors)
    .u32(crc)
    .u32(block.sectorBytes ?? 0)
    .id128(block.company ?? nobodys)
  writer.raw(new Uint8Array(blockBytes - writer.length))
  writer.setU32(12, blockCrc(writer.peek()))
  return writer.finish()
}

interface Choice {
  readonly slot: 0 | 1
  readonly current: Superblock | undefined
  readonly error?: HarmonyError
}

function choose(slots: readonly [DecodedSuperblock, DecodedSuperblock], pages: PageFile): Choice {
  const [a, b] = slots
  if (a.state === 'newer' || b.state === 'newer') {
    return refuse('VERSION_MISMATCH', 'this store was written by a newer version of HarmonyDB: upgrade this one')
  }
  if (a.state === 'valid' && b.state === 'valid') {
    return a.block.epoch >= b.block.epoch ? { slot: 0, current: a.block } : { slot: 1, current: b.block }
  }
  if (a.state === 'valid') return { slot: 0, current: alone(a.block, b) }
  if (b.state === 'valid') return { slot: 1, current: alone(b.block, a) }
  if (a.state === 'empty' && b.state === 'empty') {
    // A crash before the first sync may leave zeros of some length; data further on belongs to something.
    if (pages.bytes <= 2 * strideBytes(pages)) return { slot: 1, current: undefined }
    return refuse('CORRUPT', `both superblocks are gone and data follows them. ${remedy}`)
  }
  if (a.state === 'foreign' && b.state !== 'damaged')
    return refuse('CORRUPT', `this is not a HarmonyDB file. ${remedy}`)
  return refuse('CORRUPT', `no superblock is valid: ${stateText(a)}, ${stateText(b)}. ${remedy}`)
}

/** The other one may have been newer: that everything was closed in order is then not known. */
function alone(block: Superblock, other: DecodedSuperblock): Superblock {
  return other.state === 'empty' ? block : { ...block, clean: false }
}

const refuse = (code: 'CORRUPT' | 'VERSION_MISMATCH', message: string): Choice => ({
  slot: 0,
  current: undefined,
  error: new HarmonyError(code, message),
})
const stateText = (slot: DecodedSuperblock): string => (slot.state === 'foreign' ? 'overwritten' : slot.state)

function blockCrc(block: Uint8Array): number {
  const before = crc32c(block, 0, 0, 12)
  return crc32c(block, crc32c(new Uint8Array(4), before), 16, blockBytes)
}

/** What is not given stays as it is in the newest block. */
interface Write {
  readonly fields: SuperblockFields | undefined
  readonly root: PageRoot | undefined
  readonly dones: Done[]
}

/**
 * Writes one at a time; those that wait are written together, the newest of each kind. After a failure every call completes
 * with it. The identity's fields and the page store's root are written by different owners and do not touch each other.
 */
export class SuperblockStore {
  private readonly pages: PageFile
  private slot: 0 | 1
  private block: Superblock | undefined
  private active: Write | undefined
  private next: Write | undefined
  private death: HarmonyError | undefined
  private newestCompany: ClusterId | undefined

  constructor(pages: PageFile, slot: 0 | 1, current: Superblock | undefined) {
    this.pages = pages
    this.slot = slot
    this.block = current
    this.newestCompany = current?.company
  }

  /** As the last `write` had it, durable or not yet. */
  get company(): ClusterId | undefined {
    return this.newestCompany
  }

  /** What the page store counts in. */
  get sectorBytes(): number {
    const { block, pages } = this
    if (block === undefined) return pages.sectorBytes
    return block.sectorBytes ?? pages.sectorBytesOnce ?? pages.sectorBytes
  }

  /** The newest that is durable. */
  get current(): Superblock | undefined {
    return this.block
  }

  /** Completes when it is durable; it is then the newest, whatever happens. The root stays. */
  write(fields: SuperblockFields, done: Done): void {
    this.newestCompany = fields.company
    this.enqueue({ fields, root: undefined, dones: [done] })
  }

  /**
   * Completes when it is durable. Whatever `root` reaches must be durable already. The other fields stay, but the peer has written
   * something: `clean` is false unless a `write` that waits too says otherwise. Only after the first `write`.
   */
  writeRoot(root: PageRoot, done: Done): void {
    assert(this.block !== undefined || this.active !== undefined, 'a superblock begins with an identity')
    this.enqueue({ fields: undefined, root, dones: [done] })
  }

  private enqueue(write: Write): void {
    if (this.active === undefined) {
      this.active = write
      this.start(write)
    } else {
      const { next } = this
      this.next = {
        fields: write.fields ?? next?.fields,
        root: write.root ?? next?.root,
        dones: [...(next?.dones ?? []), ...write.dones],
      }
    }
  }

  private start(write: Write): void {
    if (this.death !== undefined) return this.finish(write, this.death)
    const fields = write.fields ?? this.block
    assert(fields !== undefined, 'a superblock begins with an identity')
    const root = write.root ?? this.block?.root
    const block: Superblock = {
      identitySeed: copyBytes(fields.identitySeed),
      peerId: fields.peerId,
      durableLsn: fields.durableLsn,
      clean: write.fields?.clean ?? false,
      epoch: (this.block?.epoch ?? 0) + 1,
      pageBytes: this.block?.pageBytes ?? this.pages.pageBytesPreferred,
      sectorBytes: this.sectorBytes,
      ...(fields.company === undefined ? {} : { company: fields.company }),
      ...(root === undefined ? {} : { root }),
    }
    const slot = this.slot === 0 ? 1 : 0
    const extent = new Uint8Array(extentBytes(this.pages))
    extent.set(encodeSuperblock(block))
    this.pages.write(slot * strideBytes(this.pages), extent)
    this.pages.sync(error => {
      if (error === undefined) {
        this.slot = slot
        this.block = block
      } else this.death = error
      this.finish(write, error)
    })
  }

  private finish(write: Write, error: HarmonyError | undefined): void {
    for (const done of write.dones) done(error)
    this.active = this.next
    this.next = undefined
    if (this.active !== undefined) this.start(this.active)
  }
}
