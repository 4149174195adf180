/** What every host checks of `open`'s argument, before it touches anything. */
import { coreJoin } from './cluster.ts'
import { invalid, oneOf, record, shown } from './options.ts'
import type { OpenOptions } from './types.ts'

/** Names become parts of directory and database names: 1 to 64 characters that every file system takes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const nameForm = /^(?!\.)[^\u0000-\u001f\u007f/\\:*?"<>|]{1,64}$/

const cacheBytesMin = 1024 * 1024
const threadsMax = 16
const driftMaxDefault = 2
/** With more a lease is over before the next round can be confirmed. */
const driftMaxMax = 4

/** Undefined: no reads under a lease. @throws HarmonyError VALIDATION. */
export function leaseDriftMaxOf(leaseReads: OpenOptions['leaseReads']): number | undefined {
  if (leaseReads === undefined || leaseReads === false) return undefined
  if (leaseReads === true) return driftMaxDefault
  const { driftMax = driftMaxDefault } = record(leaseReads, 'leaseReads')
  if (typeof driftMax === 'number' && driftMax >= 1 && driftMax <= driftMaxMax) return driftMax
  throw invalid(`leaseReads.driftMax must be a number from 1 to ${driftMaxMax}, not ${shown(driftMax)}`)
}

/** @throws HarmonyError VALIDATION. */
export function openOptions(nameOrOptions: string | OpenOptions): OpenOptions {
  const options =
    typeof nameOrOptions === 'string' ? { name: nameOrOptions } : record(nameOrOptions, 'the argument of open')
  const { name, storage, cacheBytes, durability, adopt, readers, writers, leaseReads, onEvent, cluster } = options
  if (typeof name !== 'string' || !nameForm.test(name)) {
    throw invalid(
      `name must be 1 to 64 characters without / \\ : * ? " < > | and without a leading dot, not ${shown(name)}`,
    )
  }
  if (typeof storage === 'object' && storage !== null) {
    if (typeof storage.dir !== 'string' || storage.dir === '')
      throw invalid('storage.dir must be the path of a directory')
  } else if (storage !== undefined) oneOf(storage, ['auto', 'opfs', 'indexeddb', 'memory'], 'storage')
  if (
    cacheBytes !== undefined &&
    !(typeof cacheBytes === 'number' && Number.isInteger(cacheBytes) && cacheBytes >= cacheBytesMin)
  ) {
    throw invalid(
      `cacheBytes must be a whole number of bytes, ${cacheBytesMin} (1 MiB) or more, not ${shown(cacheBytes)}`,
    )
  }
  for (const [what, threads] of Object.entries({ readers, writers })) {
    if (threads !== undefined && !(Number.isInteger(threads) && threads >= 0 && threads <= threadsMax)) {
      throw invalid(`${what} must be a whole number from 0 to ${threadsMax}, not ${shown(threads)}`)
    }
  }
  leaseDriftMaxOf(leaseReads)
  if (durability !== undefined) oneOf(durability, ['strict', 'relaxed'], 'durability')
  if (adopt !== undefined && typeof adopt !== 'boolean')
    throw invalid(`adopt must be true or false, not ${shown(adopt)}`)
  if (onEvent !== undefined && typeof onEvent !== 'function') throw invalid('onEvent must be a function')
  if (cluster !== undefined) coreJoin(cluster)
  return options
}
