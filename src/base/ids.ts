/** Branded identifiers: a term is never passed where an index is meant, and a peer is not just any string. */

declare const brand: unique symbol
type Branded<T, B extends string> = T & { readonly [brand]: B }

/** Raft term; 0 before the first election. */
export type Term = Branded<number, 'Term'>
/** Position in one group's Raft log; the first entry has index 1, 0 means "none". */
export type Index = Branded<number, 'Index'>
/** Byte offset in a peer's write-ahead log; only grows. */
export type Lsn = Branded<number, 'Lsn'>
/** 32 lower-case hex digits: the first 128 bits of SHA-256 over the peer's Ed25519 public key. Sorts as a string. */
export type PeerId = Branded<string, 'PeerId'>
/** 32 lower-case hex digits drawn at random by whoever creates a group; two stores with different ones never mix. */
export type ClusterId = Branded<string, 'ClusterId'>
/** One Raft group of a cluster; group 0 exists always. */
export type GroupId = Branded<number, 'GroupId'>
/** Commit timestamp: a logical counter, at most 2^53-1. Only grows within a group. 0 means "never". */
export type Timestamp = Branded<number, 'Timestamp'>

export const term = (n: number): Term => n as Term
export const index = (n: number): Index => n as Index
export const lsn = (n: number): Lsn => n as Lsn
export const groupId = (n: number): GroupId => n as GroupId
export const timestamp = (n: number): Timestamp => n as Timestamp
/** Trusts the caller: use where the digits were just made or checked. */
export const peerId = (hex: string): PeerId => hex as PeerId
export const clusterId = (hex: string): ClusterId => hex as ClusterId

/** The id's form, for decoders. */
export const isId128 = (text: unknown): text is string => typeof text === 'string' && /^[0-9a-f]{32}$/.test(text)
