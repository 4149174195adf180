/** FNV-1a (Fowler, Noll, Vo), 32 bits: spreads keys in memory, and finds what was damaged or mixed up by accident; it protects nothing. No tables, unlike a CRC: pages have it. */
export function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  return hash >>> 0
}
