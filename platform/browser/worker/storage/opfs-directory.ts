/**
 * A Directory in a directory of the origin private file system, for dedicated workers:
 *
 *   <name>.pages          `opfs-page-file.ts`
 *   <log>.<number>.log    `opfs-log-file.ts`
 *   complete              what stands here is the store, and not the beginning of a copy (`store-place.ts`)
 *
 * Whoever opens it holds the slot's Web Lock already.
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../../../../src/platform.ts'
import { directoryAt, openHandle, opfsError } from './opfs-handles.ts'
import { openOpfsLog, parseLogName } from './opfs-log-file.ts'
import { OpfsPageFile } from './opfs-page-file.ts'
import { SerialCalls } from './serial-calls.ts'

const nameForm = /^[a-z0-9-]{1,32}$/
const pagesForm = /^([a-z0-9-]{1,32})\.pages$/

/** Errors: QUOTA, STORAGE_LOST. */
export function openOpfsDirectory(path: readonly string[], done: Completion<OpfsDirectory>): void {
  directoryAt(path, true).then(
    handle => {
      assert(handle !== undefined, 'a directory was made')
      done({ ok: true, value: new OpfsDirectory(handle, path.join('/')) })
    },
    cause => done({ ok: false, error: opfsError(cause, `opening the directory ${path.join('/')}`) }),
  )
}

class OpfsDirectory implements Directory {
  private readonly handle: FileSystemDirectoryHandle
  private readonly path: string
  private readonly openFiles = new Map<string, LogFile | PageFile>()
  private closed = false
  private readonly calls = new SerialCalls(() =>
    this.closed ? new HarmonyError('CLOSED', `the storage ${this.path} was closed`) : undefined,
  )

  constructor(handle: FileSystemDirectoryHandle, path: string) {
    this.handle = handle
    this.path = path
  }

  /** @param beginAt Where a new log begins. */
  openLog(name: string, done: Completion<LogFile>, beginAt = 0): void {
    this.open(name, done, async (kept, onClosed) => {
      if (kept.pages) throw otherKind(name, 'pages')
      return openOpfsLog(this.handle, name, kept.numbers, beginAt, onClosed)
    })
  }

  openPages(name: string, done: Completion<PageFile>): void {
    this.open(name, done, async (kept, onClosed) => {
      if (kept.numbers.length > 0) throw otherKind(name, 'log')
      return new OpfsPageFile(await openHandle(this.handle, `${name}.pages`), name, onClosed)
    })
  }

  list(done: Completion<readonly string[]>): void {
    this.call(done, 'listing', async () => {
      const names = new Set<string>()
      for (const fileName of await this.fileNames()) {
        const name = parseLogName(fileName)?.log ?? pagesForm.exec(fileName)?.[1]
        if (name !== undefined) names.add(name)
      }
      return [...names].sort()
    })
  }

  remove(name: string, done: Done): void {
    this.call<undefined>(
      result => done(result.ok ? undefined : result.error),
      `removing ${name} of`,
      async () => {
        if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open: close it first`)
        const gone = (await this.fileNames()).filter(one => one === `${name}.pages` || parseLogName(one)?.log === name)
        // The last part of a log first: a crash in between leaves one without a gap.
        for (const fileName of gone.sort().reverse()) await this.handle.removeEntry(fileName)
        return undefined
      },
    )
  }

  close(done: Done): void {
    this.call<undefined>(
      result => done(result.ok ? undefined : result.error),
      'closing',
      async () => {
        this.closed = true
        const closing = [...this.openFiles.values()].map(file => new Promise<void>(ended => file.close(() => ended())))
        await Promise.all(closing)
        return undefined
      },
    )
  }

  private open<F extends LogFile | PageFile>(
    name: string,
    done: Completion<F>,
    make: (kept: { numbers: readonly number[]; pages: boolean }, onClosed: () => void) => Promise<F>,
  ): void {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    this.call(done, `opening ${name} of`, async () => {
      if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open already`)
      const names = await this.fileNames()
      const numbers = names.flatMap(one => {
        const parsed = parseLogName(one)
        return parsed?.log === name ? [parsed.number] : []
      })
      const kept = { numbers, pages: names.includes(`${name}.pages`) }
      const file = await make(kept, () => this.openFiles.delete(name))
      this.openFiles.set(name, file)
      return file
    })
  }

  private async fileNames(): Promise<string[]> {
    const names: string[] = []
    for await (const name of this.handle.keys()) names.push(name)
    return names
  }

  private call<T>(done: Completion<T>, doing: string, run: () => Promise<T>): void {
    this.calls.call(done, async () => {
      try {
        return await run()
      } catch (cause) {
        throw opfsError(cause, `${doing} the storage ${this.path}`)
      }
    })
  }
}

function otherKind(name: string, kind: string): HarmonyError {
  return new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${kind}`)
}
