/**
 * A Directory in one IndexedDB database (`connection.ts` has the format), for any realm of a browser. Whoever opens it holds the slot's Web
 * Lock already: IndexedDB itself would let two write at once.
 *
 * A file that was created and never synced exists in memory alone; its first sync writes its name with its content (D2).
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../../../../src/platform.ts'
import { Connection, fireAndForget } from './connection.ts'
import { openLogFile } from './log-file.ts'
import { IndexedDbPageFile } from './page-file.ts'
import { SerialCalls } from './serial-calls.ts'

const nameForm = /^[a-z0-9-]{1,32}$/

/** Errors: CORRUPT (a database of somebody else's), VERSION_MISMATCH, QUOTA, STORAGE_LOST. */
export function openDirectory(name: string, done: Completion<IndexedDbDirectory>): void {
  open(name).then(
    value => done({ ok: true, value }),
    (error: HarmonyError) => done({ ok: false, error }),
  )
}

async function open(name: string): Promise<IndexedDbDirectory> {
  const connection = await Connection.open(name)
  try {
    const keys = await connection.read(['files'], transaction => transaction.objectStore('files').getAllKeys())
    return new IndexedDbDirectory(connection, keys)
  } catch (error) {
    connection.close()
    throw error
  }
}

class IndexedDbDirectory implements Directory {
  private readonly connection: Connection
  private readonly names: Set<string>
  private readonly openFiles = new Map<string, LogFile | PageFile>()
  private readonly calls = new SerialCalls(() => {
    if (this.closed) return new HarmonyError('CLOSED', `the storage ${this.connection.name} was closed`)
    return this.connection.lost
  })
  private closed = false

  constructor(connection: Connection, names: readonly string[]) {
    this.connection = connection
    this.names = new Set(names)
  }

  /** @param beginAt Where a new log begins. */
  openLog(name: string, done: Completion<LogFile>, beginAt = 0): void {
    this.open(name, done, async onClosed => {
      const stored = await this.stored(name)
      if (stored !== undefined && stored.kind !== 'log') throw otherKind(name, stored.kind)
      return openLogFile(this.connection, name, stored ?? beginAt, onClosed)
    })
  }

  openPages(name: string, done: Completion<PageFile>): void {
    this.open(name, done, async onClosed => {
      const stored = await this.stored(name)
      if (stored !== undefined && stored.kind !== 'pages') throw otherKind(name, stored.kind)
      return new IndexedDbPageFile(this.connection, name, stored, onClosed)
    })
  }

  list(done: Completion<readonly string[]>): void {
    this.call(done, async () => [...this.names].sort())
  }

  remove(name: string, done: Done): void {
    this.call<undefined>(
      result => done(result.ok ? undefined : result.error),
      async () => {
        if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open: close it first`)
        const error = await this.connection.write(['files', 'log', 'pages'], async transaction => {
          const all = IDBKeyRange.bound([name, 0], [name, Number.MAX_VALUE])
          fireAndForget(transaction.objectStore('files').delete(name))
          fireAndForget(transaction.objectStore('log').delete(all))
          fireAndForget(transaction.objectStore('pages').delete(all))
        })
        if (error !== undefined) throw error
        this.names.delete(name)
        return undefined
      },
    )
  }

  close(done: Done): void {
    this.call<undefined>(
      result => done(result.ok ? undefined : result.error),
      async () => {
        this.closed = true
        const closing = [...this.openFiles.values()].map(file => new Promise<void>(ended => file.close(() => ended())))
        await Promise.all(closing)
        this.connection.close()
        return undefined
      },
    )
  }

  private open<F extends LogFile | PageFile>(
    name: string,
    done: Completion<F>,
    make: (onClosed: () => void) => Promise<F>,
  ): void {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    this.call(done, async () => {
      if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open already`)
      const file = await make(() => this.openFiles.delete(name))
      this.openFiles.set(name, file)
      this.names.add(name)
      return file
    })
  }

  private stored(name: string) {
    return this.connection.read(['files'], transaction => transaction.objectStore('files').get(name))
  }

  private call<T>(done: Completion<T>, run: () => Promise<T>): void {
    this.calls.call(done, run)
  }
}

function otherKind(name: string, kind: string): HarmonyError {
  return new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${kind}`)
}
