/**
 * Values to bytes; the format is `value-format.ts`. One pass into one buffer, bounded in depth and size; what cannot be stored
 * is refused with the path to it.
 */
import { assert } from '../base/assert.ts'
import { ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { isDirectInstance, isPlainObject, typedArrayLength, typedArrayName } from './intrinsics.ts'
import { magnitudeBytes } from './magnitude.ts'
import { type Name, nameText } from './options.ts'
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

/** Elements are stored as they lie in memory. Every host with WebRTC or V8's JIT is little-endian. */
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** The containers that the encoder is inside of, and where it stands in each: `kinds` and `steps` name the path for errors. */
interface Place {
  root: Name
  readonly within: object[]
  readonly kinds: ('name' | 'index' | 'keys' | 'values')[]
  readonly steps: (string | number)[]
}

/**
 * @param name What messages call the value.
 * @returns Perhaps a part of a larger array: copy it before it is posted to another realm.
 * @throws HarmonyError INVALID_VALUE (naming the path to what cannot be stored: `value.items[3].fn`), TOO_LARGE.
 */
export function encodeValue(value: unknown, name: Name = 'value'): Uint8Array {
  // A getter in the value may store another one meanwhile.
  const encoding = idle ?? new Encoding()
  const { writer, place } = encoding
  idle = undefined
  place.root = name
  try {
    if (value === undefined)
      throw invalid(place, 'is undefined, which stands for a missing key; use delete, or store null')
    encodeItem(writer.u8(valueFormatVersion), value, place)
    return writer.finishPiece()
  } finally {
    writer.reset()
    if (place.within.length > 0) place.within.length = place.kinds.length = place.steps.length = 0
    idle = encoding
  }
}

class Encoding {
  /** Its pieces are needed until they are packed or logged. */
  readonly writer = new ByteWriter(256)
  readonly place: Place = { root: '', within: [], kinds: [], steps: [] }
}

/** Making one costs more than to encode a small value. */
let idle: Encoding | undefined

function encodeItem(writer: ByteWriter, value: unknown, place: Place): void {
  switch (typeof value) {
    case 'undefined':
      writer.u8(tagUndefined)
      break
    case 'boolean':
      writer.u8(value ? tagTrue : tagFalse)
      break
    case 'number':
      if (!Number.isSafeInteger(value) || Object.is(value, -0)) writer.u8(tagFloat).f64(value)
      else if (value >= 0) writer.u8(tagUint).varint(value)
      else writer.u8(tagNegative).varint(-1 - value)
      break
    case 'bigint': {
      const magnitude = value < 0n ? -1n - value : value
      if (magnitude >> BigInt(valueBytesMax * 8) !== 0n) throw tooLarge(place)
      writer.u8(value < 0n ? tagBigNegative : tagBigUint).bytes(magnitudeBytes(magnitude))
      break
    }
    case 'string':
      need(writer, value.length, place)
      writer.u8(tagString).text(value)
      break
    case 'object':
      if (value === null) writer.u8(tagNull)
      else if (ArrayBuffer.isView(value)) encodeView(writer, value, place)
      else encodeContainer(writer, value, place)
      break
    default:
      throw invalid(place, `is a ${typeof value}`)
  }
  need(writer, 0, place)
}

function encodeContainer(writer: ByteWriter, value: object, place: Place): void {
  const depth = place.within.length
  if (place.within.includes(value)) throw invalid(place, 'contains itself; store an id in place of the reference')
  if (depth >= valueDepthMax) throw invalid(place, `is nested more than ${valueDepthMax} deep`)
  place.within.push(value)
  if (Array.isArray(value) && isDirectInstance(value)) encodeArray(writer, value, place)
  else if (isPlainObject(value)) encodePlain(writer, value as Record<string, unknown>, place)
  else encodeBuiltIn(writer, value, place)
  place.within.length = place.kinds.length = place.steps.length = depth
}

function encodeStep(
  writer: ByteWriter,
  value: unknown,
  place: Place,
  kind: Place['kinds'][number],
  step: string | number,
) {
  const last = place.within.length - 1
  place.kinds[last] = kind
  place.steps[last] = step
  encodeItem(writer, value, place)
}

function encodePlain(writer: ByteWriter, value: Readonly<Record<string, unknown>>, place: Place): void {
  const names = Object.keys(value)
  need(writer, names.length * 2, place)
  writer.u8(tagObject).varint(names.length)
  for (const name of names) {
    need(writer, name.length, place)
    encodeStep(writer.text(name), value[name], place, 'name', name)
  }
}

function encodeArray(writer: ByteWriter, value: readonly unknown[], place: Place): void {
  const { length } = value // once: a getter within may change it
  need(writer, length, place)
  writer.u8(tagArray).varint(length)
  for (let i = 0; i < length; i++) {
    const item = value[i]
    if (item === undefined && !Object.hasOwn(value, i)) writer.u8(tagHole)
    else encodeStep(writer, item, place, 'index', i)
  }
}

function encodeBuiltIn(writer: ByteWriter, value: object, place: Place): void {
  const content = isDirectInstance(value) ? contentOf(value) : undefined
  if (content === undefined) throw invalid(place, `is ${kindOf(value)}`)
  switch (content.kind) {
    case 'Date':
      writer.u8(tagDate).f64(content.ms)
      return
    case 'ArrayBuffer':
      need(writer, content.bytes.length, place)
      writer.u8(tagBuffer).bytes(content.bytes)
      return
    case 'Map':
      need(writer, content.entries.length * 2, place)
      writer.u8(tagMap).varint(content.entries.length)
      content.entries.forEach(([key, item], i) => {
        encodeStep(writer, key, place, 'keys', i)
        encodeStep(writer, item, place, 'values', i)
      })
      return
    case 'Set':
      need(writer, content.items.length, place)
      writer.u8(tagSet).varint(content.items.length)
      for (const [i, item] of content.items.entries()) encodeStep(writer, item, place, 'values', i)
  }
}

type Content =
  | { readonly kind: 'Date'; readonly ms: number }
  | { readonly kind: 'ArrayBuffer'; readonly bytes: Uint8Array }
  | { readonly kind: 'Map'; readonly entries: readonly (readonly [unknown, unknown])[] }
  | { readonly kind: 'Set'; readonly items: readonly unknown[] }

/** The built-ins' own methods look behind what the object claims to be; they throw where it is not one of theirs. */
function contentOf(value: object): Content | undefined {
  try {
    switch (Object.prototype.toString.call(value)) {
      case '[object Date]':
        return { kind: 'Date', ms: Date.prototype.getTime.call(value) }
      case '[object ArrayBuffer]':
        return { kind: 'ArrayBuffer', bytes: new Uint8Array(value as ArrayBuffer) }
      case '[object Map]':
        return { kind: 'Map', entries: [...Map.prototype.entries.call(value)] }
      case '[object Set]':
        return { kind: 'Set', items: [...Set.prototype.values.call(value)] }
      default:
        return undefined
    }
  } catch {
    return undefined
  }
}

function encodeView(writer: ByteWriter, value: ArrayBufferView, place: Place): void {
  assert(littleEndian, 'typed arrays are stored on little-endian hosts only')
  const name = typedArrayName(value)
  const kind = typedArrayKinds.indexOf(name ?? '')
  if (name === 'Uint8Array') {
    writer.u8(tagBytes)
    const length = typedArrayLength(value)
    // None are left, too, where the buffer was lost.
    if (length > 0) return writeElements(writer, value as Uint8Array, length, place)
  } else if (name === undefined) writer.u8(tagDataView)
  else if (kind >= 0) writer.u8(tagTyped).u8(kind)
  else throw invalid(place, `is a ${name}, a kind of array that this version does not know`)
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  } catch {
    throw invalid(place, 'lost its buffer to a transfer')
  }
  need(writer, bytes.length, place)
  writer.bytes(bytes)
}

function writeElements(writer: ByteWriter, value: Uint8Array, length: number, place: Place): void {
  need(writer, length, place)
  writer.varint(length).elements(value, length)
}

function need(writer: ByteWriter, more: number, place: Place): void {
  if (writer.length + more > valueBytesMax) throw tooLarge(place)
}

function invalid(place: Place, what: string): HarmonyError {
  return new HarmonyError('INVALID_VALUE', `${pathOf(place)} ${what} and cannot be stored`)
}

function tooLarge(place: Place): HarmonyError {
  const limit = `${valueBytesMax / 1024 / 1024} MiB, the limit for one value; split it over several keys`
  return new HarmonyError('TOO_LARGE', `${nameText(place.root)} takes more than ${limit}`)
}

const pathLengthMax = 300

function pathOf({ root, kinds, steps }: Place): string {
  let path = nameText(root)
  for (const [i, step] of steps.entries()) {
    const kind = kinds[i]
    if (kind === 'index') path += `[${step}]`
    else if (kind !== 'name') path += `.${kind}()[${step}]`
    else path += /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(String(step)) ? `.${step}` : `[${JSON.stringify(step)}]`
  }
  if (path.length <= pathLengthMax) return path
  return `${path.slice(0, pathLengthMax / 2)}…${path.slice(-pathLengthMax / 2)}`
}

function kindOf(value: object): string {
  const kind = Object.prototype.toString.call(value).slice(8, -1)
  if (kind !== 'Object' && kind !== 'Array') return `of the kind ${kind}`
  const maker: unknown = value.constructor
  return `an instance of ${typeof maker === 'function' && maker.name !== '' ? maker.name : 'a class'}`
}
