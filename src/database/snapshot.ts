/** `Database.snapshot()`: one state, to be read for as long as it is held. */
import { HarmonyError } from '../base/errors.ts'
import type { Core, CoreReadOptions, CoreScan, CoreSnapshot } from './core.ts'
import { inState, invalid } from './options.ts'
import { EntriesReader } from './reader.ts'
import type { ReadOptions, Snapshot } from './types.ts'

export class CoreStateReader extends EntriesReader implements Snapshot {
  readonly version: string
  private readonly core: Core
  private readonly name: string
  private readonly dbEnded: () => HarmonyError | undefined
  private closed = false

  /** @param dbEnded Why nothing is possible any more; undefined while the database is open. */
  constructor(core: Core, { name, version }: CoreSnapshot, dbEnded: () => HarmonyError | undefined) {
    super()
    this.core = core
    this.name = name
    this.version = version
    this.dbEnded = dbEnded
  }

  /** Lets go of the state. Does nothing where that was done. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.core.release(this.name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  protected override ended(): HarmonyError | undefined {
    return this.closed ? new HarmonyError('CLOSED', 'this snapshot was closed; take another one') : this.dbEnded()
  }

  protected override entriesOf(keys: readonly Uint8Array[], options: CoreReadOptions) {
    return this.core.getMany(keys, inState(options, this.name))
  }

  protected override pageOf(request: CoreScan) {
    const { continuation } = request
    if (continuation !== undefined && continuation.snapshot !== this.name)
      throw invalid('a cursor goes on within the snapshot that it is of')
    return this.core.scan({ ...request, snapshot: this.name })
  }

  protected override reading<O extends ReadOptions>(options: O | undefined) {
    const read = super.reading(options)
    if (read.given.consistency !== undefined || read.given.maxStalenessMs !== undefined)
      throw invalid('reads of a snapshot take no consistency: they see its state')
    return read
  }
}
