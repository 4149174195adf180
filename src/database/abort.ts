/** Calls that their caller may give up: the call itself goes on where it runs; only the waiting ends. */
import { aborted } from './options.ts'
import type { AbortSignalLike } from './types.ts'

/**
 * What `promise` becomes, or ABORTED as soon as the signal fires.
 * @param maybeCommitted Does the error have to say that the call may take effect all the same?
 */
export function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignalLike | undefined,
  maybeCommitted: boolean,
): Promise<T>
export function unlessAborted<T>(
  promise: T | Promise<T>,
  signal: AbortSignalLike | undefined,
  maybeCommitted: boolean,
): T | Promise<T>
export function unlessAborted<T>(
  promise: T | Promise<T>,
  signal: AbortSignalLike | undefined,
  maybeCommitted: boolean,
): T | Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(aborted(signal, maybeCommitted))
    signal.addEventListener('abort', onAbort)
    const stop = () => signal.removeEventListener('abort', onAbort)
    Promise.resolve(promise).then(
      value => {
        stop()
        resolve(value)
      },
      error => {
        stop()
        reject(error)
      },
    )
  })
}
