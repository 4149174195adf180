/**
 * What a value really is, whatever it says of itself and whichever realm (frame, test runner) it comes from: `instanceof`
 * fails across realms, and `Symbol.toStringTag` can be set by anyone.
 */

const typedArray = Object.getPrototypeOf(Uint8Array.prototype)
const typedArrayTag = Object.getOwnPropertyDescriptor(typedArray, Symbol.toStringTag)!.get as () => string | undefined
const lengthOf = Object.getOwnPropertyDescriptor(typedArray, 'length')!.get as () => number

/** `Uint8Array`, `BigInt64Array`, …, of a subclass its base (a Node Buffer is a Uint8Array); undefined for anything else. */
export function typedArrayName(value: unknown): string | undefined {
  return typedArrayTag.call(value)
}

/** Of a typed array; 0 where its buffer was transferred. */
export function typedArrayLength(value: unknown): number {
  return lengthOf.call(value)
}

/** Is every own state of this object in its properties, with no behaviour behind it? Of this realm or another. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf')
}

/** A direct instance of a built-in class, not of a class derived from it: its prototype's prototype is the root. */
export function isDirectInstance(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null) return false
  const parent: unknown = Object.getPrototypeOf(prototype)
  return parent === null || Object.getPrototypeOf(parent) === null
}
