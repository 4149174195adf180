/** Valid bytes with one of them changed and the end cut off, for decoders that must bear them. */
import fc from 'fast-check'

export function damaged<T>(valid: fc.Arbitrary<T>, encode: (value: T) => Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc.tuple(valid, fc.nat(), fc.nat(255), fc.nat()).map(([value, at, byte, cut]) => {
    const bytes = encode(value)
    bytes[at % bytes.length] = byte
    return bytes.subarray(0, cut % (bytes.length + 1))
  })
}
