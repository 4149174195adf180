/**
 * Files of the origin private file system with synchronous access: what workers have, and pages do not.
 *
 * A file has one synchronous handle at a time. That of a realm which died a moment ago may not be free yet, though its Web Lock is: opening waits a while.
 */
import { HarmonyError, isHarmonyError } from '../../../../src/base/errors.ts'

const openWaitMsMax = 3000
const openRetryMs = 20

/** Flushes come after what the host has ready: requests that are in its queue share one. */
const turns = new MessageChannel()
const due: (() => void)[] = []
turns.port1.onmessage = () => due.shift()?.()

export function nextTurn(run: () => void): void {
  due.push(run)
  turns.port2.postMessage(undefined)
}

export function opfsError(cause: unknown, doing: string): HarmonyError {
  if (isHarmonyError(cause)) return cause
  const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
  if (cause instanceof DOMException && cause.name === 'QuotaExceededError') {
    return new HarmonyError('QUOTA', `${doing}: this origin's storage is full; free some, or ask for more`, { cause })
  }
  return new HarmonyError('STORAGE_LOST', `${doing} failed (${what}); open the database again`, { cause })
}

/** @throws DOMException */
export async function openHandle(
  directory: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemSyncAccessHandle> {
  const file = await directory.getFileHandle(name, { create: true })
  for (let waited = 0; ; waited += openRetryMs) {
    try {
      return await file.createSyncAccessHandle()
    } catch (cause) {
      const busy = cause instanceof DOMException && cause.name === 'NoModificationAllowedError'
      if (!busy || waited >= openWaitMsMax) throw cause
      await new Promise(resolve => setTimeout(resolve, openRetryMs))
    }
  }
}

/** Undefined where it is not there and not to be made. @throws DOMException */
export async function directoryAt(
  path: readonly string[],
  create: boolean,
): Promise<FileSystemDirectoryHandle | undefined> {
  let at = await navigator.storage.getDirectory()
  for (const name of path) {
    try {
      at = await at.getDirectoryHandle(name, { create })
    } catch (cause) {
      if (!create && cause instanceof DOMException && cause.name === 'NotFoundError') return undefined
      throw cause
    }
  }
  return at
}

/** Tried once, with a file: some hosts have the names and not the thing, or an older form of it that answers by promises. */
export async function opfsWorks(): Promise<boolean> {
  try {
    if (typeof FileSystemFileHandle === 'undefined') return false
    if (!('createSyncAccessHandle' in FileSystemFileHandle.prototype)) return false
    const root = await navigator.storage.getDirectory()
    const name = `harmonydb-probe-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`
    const handle = await openHandle(root, name)
    try {
      const written: unknown = handle.write(Uint8Array.of(1, 2, 3), { at: 0 })
      handle.flush()
      const back = new Uint8Array(3)
      const read: unknown = handle.read(back, { at: 0 })
      return written === 3 && read === 3 && back[2] === 3 && (handle.getSize() as unknown) === 3
    } finally {
      handle.close()
      await root.removeEntry(name)
    }
  } catch {
    return false
  }
}
