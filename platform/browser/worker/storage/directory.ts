/**
 * A Directory on IndexedDB. Who opens it holds the slot's Web Lock already (`slot.ts`): this adapter does not lock. When the browser
 * takes the connection away, everything in flight and later fails with STORAGE_LOST (pitfall 23).
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../../../../src/platform.ts'
import { openLogFile } from './log-file.ts'
import { openPageFile } from './page-file.ts'
import { openDatabase, type StorageDatabase, type StoredFile, storageError } from './schema.ts'
import { Serial } from './serial.ts'

const nameForm = /^[a-z0-9-]{1,32}$/

/** Opens or creates the IndexedDB database `name`. Errors: QUOTA, STORAGE_LOST, VERSION_MISMATCH. */
export function openDirectory(name: string, done: Completion<Directory>): void {
  const serial = new Serial(name)
  const onLost = (): void => {
    const message = `the browser closed the database "${name}": its data was cleared, or another version of this page opened it`
    serial.death ??= new HarmonyError('STORAGE_LOST', `${message}. Reload the page`)
  }
  openDatabase(name, onLost).then(
    database => done({ ok: true, value: new IndexedDbDirectory(database, serial) }),
    error => done({ ok: false, error: storageError(error, `opening "${name}"`) }),
  )
}

class IndexedDbDirectory implements Directory {
  private readonly database: StorageDatabase
  private readonly serial: Serial
  private readonly openFiles = new Map<string, LogFile | PageFile | undefined>()

  constructor(database: StorageDatabase, serial: Serial) {
    this.database = database
    this.serial = serial
  }

  openLog(name: string, done: Completion<LogFile>): void {
    this.open(name, 'log', (file, onClosed) => openLogFile(this.database, name, file, onClosed), done)
  }

  openPages(name: string, done: Completion<PageFile>): void {
    this.open(name, 'pages', (_file, onClosed) => openPageFile(this.database, name, onClosed), done)
  }

  list(done: Completion<readonly string[]>): void {
    this.serial.run('listing', false, () => this.database.getAllKeys('files'), done)
  }

  remove(name: string, done: Done): void {
    const work = async (): Promise<void> => {
      if (this.openFiles.has(name))
        throw new HarmonyError('LOCKED', `the file ${name} is open: close it before you remove it`)
      const transaction = this.database.transaction(['files', 'log', 'pages'], 'readwrite', { durability: 'strict' })
      const all = IDBKeyRange.bound([name], [name, []])
      await Promise.all([
        transaction.objectStore('files').delete(name),
        transaction.objectStore('log').delete(all),
        transaction.objectStore('pages').delete(all),
        transaction.done,
      ])
    }
    this.serial.run('removing', false, work, result => done(result.ok ? undefined : result.error))
  }

  close(done: Done): void {
    const files = [...this.openFiles.values()].filter(file => file !== undefined)
    let open = files.length
    const finish = (): void => {
      this.serial.close(error => {
        if (error === undefined) this.database.close()
        done(error)
      })
    }
    if (open === 0) return finish()
    for (const file of files) {
      file.close(() => {
        if (--open === 0) finish()
      })
    }
  }

  private open<F extends LogFile | PageFile>(
    name: string,
    kind: StoredFile['kind'],
    make: (file: StoredFile, onClosed: () => void) => Promise<F>,
    done: Completion<F>,
  ): void {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    const work = async (): Promise<F> => {
      if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open already`)
      this.openFiles.set(name, undefined)
      try {
        const file = await this.ensure(name, kind)
        const made = await make(file, () => this.openFiles.delete(name))
        this.openFiles.set(name, made)
        return made
      } catch (error) {
        this.openFiles.delete(name)
        throw error
      }
    }
    this.serial.run('opening', false, work, done)
  }

  private async ensure(name: string, kind: StoredFile['kind']): Promise<StoredFile> {
    const found = await this.database.get('files', name)
    if (found !== undefined && found.kind !== kind) {
      throw new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${found.kind}`)
    }
    if (found !== undefined) return found
    const created: StoredFile = { kind, start: 0, end: 0 }
    const transaction = this.database.transaction('files', 'readwrite', { durability: 'strict' })
    await Promise.all([transaction.store.put(created, name), transaction.done])
    return created
  }
}
