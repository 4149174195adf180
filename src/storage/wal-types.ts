/** What the write-ahead log records, for all groups of a peer. The byte format is in `wal-record.ts`, the rules in `wal.ts`. */
import type { ClusterId, GroupId, Index, Lsn, PeerId, Term } from '../base/ids.ts'

export type WalRecord =
  /** Replaces every entry of the group at or after `index`. `kind`: the consensus core's entry kind as a small number. */
  | {
      readonly type: 'entry'
      readonly group: GroupId
      readonly index: Index
      readonly term: Term
      readonly kind: number
      readonly data: Uint8Array
    }
  | {
      readonly type: 'hardState'
      readonly group: GroupId
      readonly term: Term
      readonly vote: PeerId | undefined
      readonly commit: Index
    }
  /** The group begins anew, empty, under this cluster id; `birth` is its first configuration, encoded (opaque here). */
  | { readonly type: 'birth'; readonly group: GroupId; readonly cluster: ClusterId; readonly birth: Uint8Array }

/** Where a record stands, to read it back later. */
export interface Position {
  readonly lsn: Lsn
  /** Of the whole record, header included. */
  readonly bytes: number
}
