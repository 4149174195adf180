/**
 * Where a slot's store is: in the origin private file system, which is faster and which only dedicated workers can use, or in IndexedDB. And the way from one
 * to the other.
 *
 * The rule: a store is where the file `complete` says. The directory of the origin private file system that has it is the store; without it
 * IndexedDB is, if it has anything, and the directory is the beginning of a copy that was not finished.
 *
 *   to the file system   copy, flush, write `complete`. IndexedDB's copy is deleted at the next opening: by then what was written stands.
 *   to IndexedDB         copy, wait for its transactions, remove `complete`. The directory is deleted at the next opening.
 *
 * So a realm that dies at any point leaves one store and, perhaps, rubbish. `complete` without the files that a store has means nothing: if they
 * are gone, and IndexedDB has a store, that one counts.
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../../../../src/platform.ts'
import { openDirectory } from './directory.ts'
import { openOpfsDirectory } from './opfs-directory.ts'
import { directoryAt, openHandle, opfsError, opfsWorks } from './opfs-handles.ts'

export type PlaceKind = 'opfs' | 'indexeddb'

/** What a file is to a store, by its name; undefined: nothing. */
export type FileKinds = (name: string) => 'pages' | 'log' | undefined

export interface Place {
  readonly kind: PlaceKind
  readonly directory: Directory
  /** Where it was before. */
  readonly movedFrom: PlaceKind | undefined
  /** Why it is not where it should be. */
  readonly notMoved: HarmonyError | undefined
}

const completeName = 'complete'
const copyBytes = 256 * 1024
const syncEveryBytes = 8 * 1024 * 1024

/** Of the slots of a database; one more name for each slot. */
export const opfsPathOf = (name: string): readonly string[] => ['harmonydb', encodeURIComponent(name)]

/**
 * @param storeName Of the IndexedDB database.
 * @param path Of the directory.
 * @throws HarmonyError VALIDATION where the place that is wished for, or the one where the data is, cannot be used here; CORRUPT, QUOTA, STORAGE_LOST…
 */
export async function openPlace(
  storeName: string,
  path: readonly string[],
  wish: 'auto' | PlaceKind,
  kindOf: FileKinds,
): Promise<Place> {
  const owner = await ownerOf(storeName, path)
  const works = wish !== 'indexeddb' || owner === 'opfs' ? await opfsWorks() : false
  if (wish === 'opfs' && !works) throw unusable('storage: "opfs" cannot be used here')
  if (owner === 'opfs' && !works) throw unusable('the data of this database is in the origin private file system')
  const target: PlaceKind = wish === 'auto' ? (works ? 'opfs' : 'indexeddb') : wish
  if (owner === undefined || owner === target) return fresh(await openOwn(storeName, path, target), target)
  try {
    await move(storeName, path, target, kindOf)
  } catch (error) {
    if (wish !== 'auto') throw error
    return { ...fresh(await open(storeName, path, owner), owner), notMoved: opfsError(error, 'moving the database') }
  }
  return { ...fresh(await open(storeName, path, target), target), movedFrom: owner }
}

const fresh = (directory: Directory, kind: PlaceKind): Place => ({
  kind,
  directory,
  movedFrom: undefined,
  notMoved: undefined,
})

function unusable(what: string): HarmonyError {
  const remedy =
    'the origin private file system needs a dedicated worker, a secure context and a browser that has synchronous access to it: leave `worker` at "auto"'
  return new HarmonyError('VALIDATION', `${what}; ${remedy}`)
}

async function ownerOf(storeName: string, path: readonly string[]): Promise<PlaceKind | undefined> {
  const names = await namesAt(path)
  const inIndexedDb = (await databaseNames()).includes(storeName)
  if (names.includes(completeName) && (names.length > 1 || !inIndexedDb)) return 'opfs'
  return inIndexedDb ? 'indexeddb' : undefined
}

export async function databaseNames(): Promise<string[]> {
  const databases = (await indexedDB.databases?.()) ?? []
  return databases.map(({ name = '' }) => name)
}

/** Of a directory; empty where there is none, or no such file system. */
export async function namesAt(path: readonly string[]): Promise<string[]> {
  const names: string[] = []
  try {
    const directory = await directoryAt(path, false)
    if (directory === undefined) return []
    for await (const name of directory.keys()) names.push(name)
  } catch {
    // No such file system here.
  }
  return names
}

/** The store is there, or nowhere: what else is left goes. */
async function openOwn(storeName: string, path: readonly string[], kind: PlaceKind): Promise<Directory> {
  if (kind === 'indexeddb') {
    await removeDirectory(path)
    return open(storeName, path, kind)
  }
  if (!(await namesAt(path)).includes(completeName)) {
    await removeDirectory(path)
    await markComplete(path)
  }
  if ((await databaseNames()).includes(storeName)) await deleteDatabase(storeName)
  return open(storeName, path, kind)
}

async function move(storeName: string, path: readonly string[], to: PlaceKind, kindOf: FileKinds): Promise<void> {
  const from: PlaceKind = to === 'opfs' ? 'indexeddb' : 'opfs'
  if (to === 'opfs') await removeDirectory(path)
  else await deleteDatabase(storeName)
  const source = await open(storeName, path, from)
  try {
    const target = await open(storeName, path, to)
    try {
      await copyStore(source, target, kindOf)
    } finally {
      await settled(done => target.close(done))
    }
  } finally {
    await settled(done => source.close(done))
  }
  if (to === 'opfs') await markComplete(path)
  else await (await directoryAt(path, false))?.removeEntry(completeName)
}

/** A directory whose new logs may begin anywhere: as the one does that is copied there. */
interface Home extends Directory {
  openLog(name: string, done: Completion<LogFile>, beginAt?: number): void
}

async function copyStore(from: Home, to: Home, kindOf: FileKinds): Promise<void> {
  const names = await asked<readonly string[]>(done => from.list(done))
  for (const name of names) {
    const kind = kindOf(name)
    if (kind === 'pages') await copyPages(name, from, to)
    // A snapshot that was being received is of no use to who opens the store next.
    if (kind === 'log') await copyLog(name, from, to)
  }
}

async function finish(source: LogFile | PageFile, target: LogFile | PageFile): Promise<void> {
  await settled(done => target.sync(done))
  await settled(done => target.close(done))
  await settled(done => source.close(done))
}

async function copyPages(name: string, from: Home, to: Home): Promise<void> {
  const source = await asked<PageFile>(done => from.openPages(name, done))
  const target = await asked<PageFile>(done => to.openPages(name, done))
  assert(source.sectorBytes === target.sectorBytes, 'both have sectors of one size')
  for (let at = 0; at < source.bytes; at += copyBytes) {
    const length = Math.min(copyBytes, source.bytes - at)
    target.write(at, await asked<Uint8Array>(done => source.read(at, length, done)))
    if ((at + length) % syncEveryBytes === 0) await settled(done => target.sync(done))
  }
  await finish(source, target)
}

async function copyLog(name: string, from: Home, to: Home): Promise<void> {
  const source = await asked<LogFile>(done => from.openLog(name, done))
  const target = await asked<LogFile>(done => to.openLog(name, done, source.start))
  assert(target.start === source.start && target.end === source.start, 'a log is copied to an empty one')
  for (let at = source.start, unsynced = 0; at < source.end; at += copyBytes) {
    const length = Math.min(copyBytes, source.end - at)
    target.append(await asked<Uint8Array>(done => source.read(at, length, done)))
    unsynced += length
    if (unsynced < syncEveryBytes) continue
    await settled(done => target.sync(done))
    unsynced = 0
  }
  await finish(source, target)
}

function open(storeName: string, path: readonly string[], kind: PlaceKind): Promise<Home> {
  return asked(done => (kind === 'opfs' ? openOpfsDirectory(path, done) : openDirectory(storeName, done)))
}

async function markComplete(path: readonly string[]): Promise<void> {
  try {
    const directory = await directoryAt(path, true)
    assert(directory !== undefined, 'a directory was made')
    const handle = await openHandle(directory, completeName)
    handle.write(new TextEncoder().encode('HarmonyDB storage 1\n'), { at: 0 })
    handle.flush()
    handle.close()
  } catch (cause) {
    throw opfsError(cause, 'marking the storage as complete')
  }
}

async function removeDirectory(path: readonly string[]): Promise<void> {
  const name = path.at(-1)
  if (name === undefined || (await namesAt(path.slice(0, -1))).includes(name) === false) return
  try {
    await (await directoryAt(path.slice(0, -1), false))?.removeEntry(name, { recursive: true })
  } catch (cause) {
    throw opfsError(cause, 'removing an unfinished copy')
  }
}

function deleteDatabase(storeName: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(storeName)
    request.onsuccess = () => resolve()
    request.onerror = () => reject(opfsError(request.error, 'deleting the former storage'))
  })
}

function asked<T>(ask: (done: Completion<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    ask(result => (result.ok ? resolve(result.value) : reject(result.error)))
  })
}

function settled(ask: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    ask(error => (error === undefined ? resolve() : reject(error)))
  })
}
