/**
 * Bytes to values; the format is `value-format.ts`. Total: a value or a typed error, whatever the bytes. Counts are checked
 * against what is left before anything is allocated, depth is bounded, no name can reach a prototype.
 */
import { ByteReader } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Result } from '../platform.ts'
import { magnitudeOf } from './magnitude.ts'
import {
  tagArray,
  tagBigNegative,
  tagBigUint,
  tagBuffer,
  tagBytes,
  tagDataView,
  tagDate,
  tagFalse,
  tagFloat,
  tagHole,
  tagMap,
  tagNegative,
  tagNull,
  tagObject,
  tagSet,
  tagString,
  tagTrue,
  tagTyped,
  tagUint,
  tagUndefined,
  typedArrayKinds,
  valueBytesMax,
  valueDepthMax,
  valueFormatVersion,
} from './value-format.ts'

interface TypedArrayConstructor {
  readonly BYTES_PER_ELEMENT: number
  new (buffer: ArrayBuffer): ArrayBufferView
}

/** Undefined where the host does not have it (Float16Array). */
const typedArrayOf = (kind: number): TypedArrayConstructor | undefined =>
  (globalThis as unknown as Record<string, TypedArrayConstructor | undefined>)[typedArrayKinds[kind] ?? '']

/** Of `bytes` that share memory; longer ones are copied, as all are where nothing is shared. */
const sharedBytesMax = 4096

/**
 * @param shared Uint8Arrays of up to 4 KiB in the value are views into `bytes`: an array with memory of its own costs more than all the rest of a small value.
 *
 * Of bytes[from, to). Total: a value, CORRUPT for bytes that are none, VERSION_MISMATCH for what only a newer version or another host can hold. */
export function decodeValue(bytes: Uint8Array, from = 0, to = bytes.length, shared = false): Result<unknown> {
  const reader = new ByteReader(bytes, from, to)
  const version = reader.u8()
  if (version > valueFormatVersion) {
    const message = `this value was stored in format ${version}; this version of HarmonyDB reads up to ${valueFormatVersion}: upgrade it`
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  if (version === valueFormatVersion && to - from <= valueBytesMax) {
    const state: Decoding = { reader, shared, missingKind: undefined }
    const value = decodeItem(state, reader.u8(), 0)
    if (state.missingKind !== undefined) {
      const error = new HarmonyError(
        'VERSION_MISMATCH',
        `this host has no ${state.missingKind}, which the value contains`,
      )
      return { ok: false, error }
    }
    if (reader.done()) return { ok: true, value }
  }
  return { ok: false, error: new HarmonyError('CORRUPT', 'these bytes are no value of this format') }
}

interface Decoding {
  readonly reader: ByteReader
  readonly shared: boolean
  missingKind: string | undefined
}

/** After a failure of the reader the result means nothing. */
function decodeItem(state: Decoding, tag: number, depth: number): unknown {
  const { reader } = state
  switch (tag) {
    case tagNull:
      return null
    case tagUndefined:
      return undefined
    case tagFalse:
      return false
    case tagTrue:
      return true
    case tagUint:
      return reader.varint()
    case tagNegative:
      return -1 - reader.varint()
    case tagFloat:
      return reader.f64()
    case tagBigUint:
    case tagBigNegative: {
      const magnitude = magnitudeOf(reader.bytes())
      if (magnitude === undefined) break
      return tag === tagBigUint ? magnitude : -1n - magnitude
    }
    case tagString:
      return reader.text()
    case tagDate:
      return new Date(reader.f64())
    case tagBytes:
      return state.shared ? decodeShared(reader) : reader.bytesCopied()
    case tagBuffer:
      return reader.bytesCopied().buffer
    case tagDataView:
      return new DataView(reader.bytesCopied().buffer)
    case tagTyped:
      return decodeTyped(state)
    default:
      if (depth < valueDepthMax) return decodeContainer(state, tag, depth + 1)
  }
  reader.fail()
  return undefined
}

function decodeShared(reader: ByteReader): Uint8Array {
  const bytes = reader.bytes()
  return bytes.length <= sharedBytesMax ? bytes : bytes.slice()
}

function decodeContainer(state: Decoding, tag: number, depth: number): unknown {
  const { reader } = state
  const item = () => decodeItem(state, reader.u8(), depth)
  switch (tag) {
    case tagObject: {
      const object: Record<string, unknown> = {}
      const count = reader.count(2)
      for (let i = 0; i < count && !reader.failed; i++) setOwn(object, reader.text(), item())
      if (Object.keys(object).length !== count) reader.fail() // a name twice
      return object
    }
    case tagArray: {
      const array: unknown[] = []
      const count = reader.count(1)
      for (let i = 0; i < count && !reader.failed; i++) {
        const next = reader.u8()
        if (next === tagHole) array.length++
        else array.push(decodeItem(state, next, depth))
      }
      return array
    }
    case tagMap: {
      const map = new Map<unknown, unknown>()
      const count = reader.count(2)
      for (let i = 0; i < count && !reader.failed; i++) map.set(item(), item())
      if (map.size !== count) reader.fail()
      return map
    }
    case tagSet: {
      const set = new Set<unknown>()
      const count = reader.count(1)
      for (let i = 0; i < count && !reader.failed; i++) set.add(item())
      if (set.size !== count) reader.fail()
      return set
    }
    default:
      reader.fail()
      return undefined
  }
}

/** `__proto__` would call a setter and give the object another prototype: it is defined, not assigned. */
function setOwn(object: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
}

function decodeTyped(state: Decoding): unknown {
  const { reader } = state
  const kind = reader.u8()
  const bytes = reader.bytes()
  const TypedArray = typedArrayOf(kind)
  if (TypedArray !== undefined && bytes.length % TypedArray.BYTES_PER_ELEMENT === 0) {
    return new TypedArray(bytes.slice().buffer)
  }
  if (TypedArray === undefined && !reader.failed) state.missingKind = typedArrayKinds[kind]
  reader.fail()
  return undefined
}
