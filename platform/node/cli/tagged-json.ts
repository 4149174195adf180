/**
 * Keys and values as text, both ways without loss: JSON, and what JSON lacks as an object with one name that begins with `$`.
 *
 *   {"$bigint":"123"}   {"$number":"NaN" | "Infinity" | "-Infinity" | "-0"}   {"$undefined":true}   {"$hole":true} (in arrays)
 *   {"$date":"2026-11-23T00:00:00.000Z"}, {"$date":null} for an invalid one; {"$date":8.64e15} in milliseconds is read too
 *   {"$bytes":"base64"} Uint8Array   {"$buffer":"base64"} ArrayBuffer   {"$dataview":"base64"}
 *   {"$typed":["Float32Array","base64"]}   {"$map":[[key,value],…]}   {"$set":[…]}
 *   {"$object":[["$name",value],…]} an object that has names beginning with `$` itself
 *
 * A key on the command line is a JSON array of strings, numbers, booleans, `$bigint` and `$bytes`; text that does not begin with `[` is
 * a string as it stands. A value is JSON, or, where it cannot be mistaken for JSON, a string as it stands.
 *
 * Decoding is total: text in, a value or an INVALID_KEY / INVALID_VALUE out; depth is limited, nothing is evaluated, and `__proto__` is a
 * name like any other.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Key, KeyPart } from '../../../src/index.ts'
import type { Result } from '../../../src/platform.ts'

const depthMax = 500
const shownCharsMax = 60

/** A key as typed: `["user",1]`, or a bare string. */
export function parseKey(text: string): Result<Key> {
  if (!text.startsWith('[')) return { ok: true, value: [text] }
  const parsed = parseJson(text)
  if (!parsed.ok) return invalidKey(`${shown(text)} begins like a JSON array and is none: ${parsed.error.message}`)
  return keyFromJson(parsed.value)
}

/** A key within JSON (a line of an import): a string, or an array of parts. */
export function keyFromJson(json: unknown): Result<Key> {
  if (typeof json === 'string') return { ok: true, value: [json] }
  if (!Array.isArray(json)) return invalidKey('a key is a string or an array of parts')
  if (json.length === 0) return invalidKey('a key has at least one part')
  const parts: KeyPart[] = []
  for (const [i, item] of json.entries()) {
    const decoded = decode(item, 0)
    if (!decoded.ok) return invalidKey(`part ${i}: ${decoded.error.message}`)
    const part = decoded.value
    if (Number.isNaN(part)) return invalidKey(`part ${i} is NaN, which has no place in the order of keys`)
    if (part instanceof Uint8Array || ['string', 'number', 'bigint', 'boolean'].includes(typeof part))
      parts.push(part as KeyPart)
    else return invalidKey(`part ${i} is no string, number, boolean, {"$bigint":…} or {"$bytes":…}`)
  }
  return { ok: true, value: parts }
}

/** A value as typed: JSON, else a bare string. Text that begins like JSON (`{`, `[`, `"`) must be JSON. */
export function parseValue(text: string): Result<unknown> {
  const parsed = parseJson(text)
  if (parsed.ok) return decode(parsed.value, 0)
  if (/^\s*[{["]/.test(text)) {
    return invalidValue(
      `${shown(text)} begins like JSON and is none: ${parsed.error.message}; --string takes it as it is`,
    )
  }
  return { ok: true, value: text }
}

/** A value within JSON. */
export const valueFromJson = (json: unknown): Result<unknown> => decode(json, 0)

export function parseJson(text: string): Result<unknown> {
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch (error) {
    return invalidValue(error instanceof Error ? error.message : 'no JSON')
  }
}

export const keyToText = (key: readonly KeyPart[]): string => JSON.stringify(key.map(encode))

export const valueToText = (value: unknown): string => JSON.stringify(encode(value))

/** What `JSON.stringify` prints as `valueToText` does. */
export function encode(value: unknown): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      if (Object.is(value, -0)) return { $number: '-0' }
      return Number.isFinite(value) ? value : { $number: String(value) }
    case 'bigint':
      return { $bigint: String(value) }
    case 'undefined':
      return { $undefined: true }
    default:
      return value === null ? null : encodeObject(value as object)
  }
}

function encodeObject(value: object): unknown {
  if (Array.isArray(value)) {
    return Array.from(value, (item, i) => (i in value ? encode(item) : { $hole: true }))
  }
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() }
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [encode(key), encode(item)]) }
  if (value instanceof Set) return { $set: [...value].map(encode) }
  if (value instanceof ArrayBuffer) return { $buffer: base64(new Uint8Array(value)) }
  if (ArrayBuffer.isView(value)) {
    const bytes = base64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
    if (value instanceof Uint8Array) return { $bytes: bytes }
    return value instanceof DataView ? { $dataview: bytes } : { $typed: [value.constructor.name, bytes] }
  }
  const entries = Object.entries(value)
  if (entries.some(([name]) => name.startsWith('$'))) {
    return { $object: entries.map(([name, item]) => [name, encode(item)]) }
  }
  return objectOf(entries.map(([name, item]) => [name, encode(item)]))
}

function decode(json: unknown, depth: number): Result<unknown> {
  if (typeof json !== 'object' || json === null) return { ok: true, value: json }
  if (depth >= depthMax) return invalidValue(`nested deeper than ${depthMax}`)
  if (Array.isArray(json)) return decodeArray(json, depth)
  const names = Object.keys(json)
  const tag = names.find(name => name.startsWith('$'))
  if (tag === undefined) return decodeEntries(Object.entries(json), depth)
  if (names.length > 1) {
    return invalidValue(
      `an object with ${shown(tag)} has no other names; {"$object":[["$name",value],…]} has such names`,
    )
  }
  return decodeTagged(tag, (json as Record<string, unknown>)[tag], depth)
}

function decodeTagged(tag: string, content: unknown, depth: number): Result<unknown> {
  switch (tag) {
    case '$bigint':
      return typeof content === 'string' && /^-?[0-9]{1,5000}$/.test(content) ? ok(BigInt(content)) : malformed(tag)
    case '$number': {
      const special = { NaN: Number.NaN, Infinity: Infinity, '-Infinity': -Infinity, '-0': -0 }
      return typeof content === 'string' && Object.hasOwn(special, content)
        ? ok(special[content as keyof typeof special])
        : malformed(tag)
    }
    case '$undefined':
      return content === true ? ok(undefined) : malformed(tag)
    case '$hole':
      return invalidValue('$hole stands only in arrays')
    case '$date':
      return decodeDate(content)
    case '$bytes':
    case '$buffer':
    case '$dataview': {
      const bytes = bytesOf(content)
      if (bytes === undefined) return malformed(tag)
      return ok(tag === '$bytes' ? bytes : tag === '$buffer' ? bytes.buffer : new DataView(bytes.buffer))
    }
    case '$typed':
      return decodeTyped(content)
    case '$map': {
      const pairs = pairsOf(content)
      if (pairs === undefined) return malformed(tag)
      const map = new Map<unknown, unknown>()
      for (const [key, item] of pairs) {
        const decodedKey = decode(key, depth + 1)
        if (!decodedKey.ok) return decodedKey
        const decoded = decode(item, depth + 1)
        if (!decoded.ok) return decoded
        map.set(decodedKey.value, decoded.value)
      }
      return ok(map)
    }
    case '$set': {
      if (!Array.isArray(content)) return malformed(tag)
      const items = decodeArray(content, depth)
      return items.ok ? ok(new Set(items.value)) : items
    }
    case '$object': {
      const pairs = pairsOf(content)
      if (pairs === undefined || !pairs.every(([name]) => typeof name === 'string')) return malformed(tag)
      return decodeEntries(pairs as [string, unknown][], depth)
    }
    default:
      return invalidValue(`${shown(tag)} is no known tag; {"$object":[["$name",value],…]} has such names`)
  }
}

function decodeArray(items: readonly unknown[], depth: number): Result<unknown[]> {
  const value: unknown[] = new Array(items.length)
  for (const [i, item] of items.entries()) {
    if (isHole(item)) continue
    const decoded = decode(item, depth + 1)
    if (!decoded.ok) return decoded
    value[i] = decoded.value
  }
  return ok(value)
}

const isHole = (item: unknown): boolean =>
  typeof item === 'object' &&
  item !== null &&
  (item as { $hole?: unknown }).$hole === true &&
  Object.keys(item).length === 1

function decodeEntries(entries: readonly (readonly [string, unknown])[], depth: number): Result<unknown> {
  const decodedEntries: [string, unknown][] = []
  for (const [name, item] of entries) {
    const decoded = decode(item, depth + 1)
    if (!decoded.ok) return decoded
    decodedEntries.push([name, decoded.value])
  }
  return ok(objectOf(decodedEntries))
}

function decodeDate(content: unknown): Result<unknown> {
  if (content === null) return ok(new Date(Number.NaN))
  if (typeof content !== 'string' && typeof content !== 'number') return malformed('$date')
  const date = new Date(content)
  return Number.isNaN(date.getTime()) ? malformed('$date') : ok(date)
}

const typedArrays = {
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
} as const

function decodeTyped(content: unknown): Result<unknown> {
  if (!Array.isArray(content) || content.length !== 2) return malformed('$typed')
  const [name, text] = content
  const bytes = bytesOf(text)
  if (typeof name !== 'string' || bytes === undefined || !Object.hasOwn(typedArrays, name)) return malformed('$typed')
  const make = typedArrays[name as keyof typeof typedArrays]
  return bytes.length % make.BYTES_PER_ELEMENT === 0 ? ok(new make(bytes.buffer)) : malformed('$typed')
}

function pairsOf(content: unknown): [unknown, unknown][] | undefined {
  if (!Array.isArray(content)) return undefined
  return content.every(pair => Array.isArray(pair) && pair.length === 2) ? content : undefined
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** In a buffer of its own. Undefined for what is no base64: Buffer would leave out what it does not know. */
function bytesOf(text: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof text !== 'string' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined
  return new Uint8Array(Buffer.from(text, 'base64'))
}

/** Assignment to `__proto__` would set the prototype. */
function objectOf(entries: readonly (readonly [string, unknown])[]): object {
  const object = {}
  for (const [name, value] of entries) {
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
  }
  return object
}

const ok = <T>(value: T): Result<T> => ({ ok: true, value })

function invalidKey(message: string): { readonly ok: false; readonly error: HarmonyError } {
  return { ok: false, error: new HarmonyError('INVALID_KEY', message) }
}

function invalidValue(message: string): { readonly ok: false; readonly error: HarmonyError } {
  return { ok: false, error: new HarmonyError('INVALID_VALUE', message) }
}

const malformed = (tag: string): { readonly ok: false; readonly error: HarmonyError } =>
  invalidValue(`what stands under ${tag} is not what belongs there (see harmonydb --help)`)

const shown = (text: string): string =>
  JSON.stringify(text.length > shownCharsMax ? `${text.slice(0, shownCharsMax)}…` : text)
