/**
 * Between what a person types or reads and what the database holds. A key is typed as plain text (a tuple of one string)
 * or as a JSON array of strings, numbers and booleans; a value as JSON, or else as plain text. Everything that the
 * database can hold has a readable form, bounded in length.
 */
import type { Key, KeyPart, Range } from '../src/database/types.ts'

export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string }

export function parseKey(text: string): Parsed<readonly KeyPart[]> {
  const trimmed = text.trim()
  if (trimmed === '') return { ok: false, message: 'Type a key first.' }
  if (!trimmed.startsWith('[')) return { ok: true, value: [trimmed] }
  let tuple: unknown
  try {
    tuple = JSON.parse(trimmed)
  } catch {
    return { ok: false, message: 'A key that begins with [ has to be a JSON array, for example ["stock", "lamp"].' }
  }
  if (!Array.isArray(tuple) || tuple.length === 0) return { ok: false, message: 'A key has at least one part.' }
  const parts: KeyPart[] = []
  for (const part of tuple as unknown[]) {
    if (typeof part !== 'string' && typeof part !== 'number' && typeof part !== 'boolean')
      return { ok: false, message: 'The parts of a key are strings, numbers and booleans.' }
    parts.push(part)
  }
  return { ok: true, value: parts }
}

export function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The highest code point: no string that begins with `s` sorts behind `s` followed by it. */
const lastCodePoint = '\u{10FFFF}'

/** All keys whose last given part, if it is a string, only begins with that text. */
export function rangeBeginningWith(key: readonly KeyPart[]): Range {
  const last = key.at(-1)
  if (typeof last !== 'string') return { prefix: key }
  return { start: key, end: [...key.slice(0, -1), last + lastCodePoint] }
}

/** What the filter box means; undefined for no filter. */
export function parseFilter(text: string): Parsed<Range | undefined> {
  if (text.trim() === '') return { ok: true, value: undefined }
  const key = parseKey(text)
  return key.ok ? { ok: true, value: rangeBeginningWith(key.value) } : key
}

export function formatKey(key: Key): string {
  const parts: readonly KeyPart[] = isTuple(key) ? key : [key]
  return `[${parts.map(part => formatValue(part)).join(', ')}]`
}

const isTuple = (key: Key): key is readonly KeyPart[] => Array.isArray(key)

/** What `parseKey` reads back as the same key, where it can. */
export function editableKey(key: readonly KeyPart[]): string {
  const [only] = key
  return key.length === 1 && typeof only === 'string' && only.trim() === only && !/^$|^\[/.test(only)
    ? only
    : formatKey(key)
}

const editableLengthMax = 100_000

/** What `parseValue` reads back as the same value; undefined where no text of a sensible length does that. */
export function editableValue(value: unknown): string | undefined {
  if (typeof value === 'string' && parseValue(value) === value)
    return value.length > editableLengthMax ? undefined : value
  if (!isJson(value, 0)) return undefined
  const text = JSON.stringify(value)
  return text.length > editableLengthMax ? undefined : text
}

/** Does JSON carry it unchanged? (No dates, maps, bytes, holes, NaN, -0, undefined…) */
function isJson(value: unknown, depth: number): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0)
  if (typeof value !== 'object' || depth > 100) return false
  if (Array.isArray(value)) return Array.from(value).every(item => isJson(item, depth + 1))
  return (
    Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(item => isJson(item, depth + 1))
  )
}

/** Readable, close to JSON, at most about `lengthMax` characters. */
export function formatValue(value: unknown, lengthMax = 160): string {
  const text = legible(value, 0)
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text
}

function legible(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 4_000 ? value.slice(0, 4_000) : value)
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0'
  if (typeof value !== 'object' || value === null) return String(value)
  if (depth > 4) return '…'
  if (value instanceof Date) return `Date(${Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString()})`
  if (ArrayBuffer.isView(value)) return describeBytes(value)
  if (value instanceof Map)
    return `Map {${few([...value], ([k, v]) => `${legible(k, depth + 1)} → ${legible(v, depth + 1)}`)}}`
  if (value instanceof Set) return `Set {${few([...value], item => legible(item, depth + 1))}}`
  if (Array.isArray(value)) return `[${few(value, item => legible(item, depth + 1))}]`
  return `{${few(Object.entries(value), ([name, item]) => `${JSON.stringify(name)}: ${legible(item, depth + 1)}`)}}`
}

const itemsShownMax = 100

function few<T>(items: readonly T[], show: (item: T) => string): string {
  const shown = items.slice(0, itemsShownMax).map(show).join(', ')
  return items.length > itemsShownMax ? `${shown}, …` : shown
}

function describeBytes(view: ArrayBufferView): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, Math.min(view.byteLength, 32))
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')
  return `0x${hex}${view.byteLength > 32 ? '…' : ''}`
}

export const shortId = (id: string): string => id.slice(0, 8)
export const formatCount = (n: number): string => n.toLocaleString('en-GB')

export function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}

export function formatBytes(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  if (bytes < 1_048_576) return `${(bytes / 1_024).toFixed(0)} KiB`
  return `${(bytes / 1_048_576).toFixed(1)} MiB`
}

export const kindOf = (value: unknown): string => {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value === 'string' ? 'text' : typeof value
}
