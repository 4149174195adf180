/** What a member of the suite `endurance` does when it is asked. */
import { createHash } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Database } from '../../src/database/types.ts'
import type { Condition, EnduranceAsks, EnduringMember, PutLoad } from './endurance-asks.ts'
import { Puts } from './endurance-puts.ts'
import { buffers, Records, versionOf } from './records.ts'

const blockBytes = 512
const readTogether = 100

export function enduranceAsks(member: () => EnduringMember): EnduranceAsks {
  let puts: Puts | undefined
  const begun = (): Puts => {
    if (puts === undefined) throw new Error('nothing is being put')
    return puts
  }
  return {
    async beginPuts(load) {
      const { db } = member()
      puts = new Puts(load, (key, value) => db.put(key, value))
    },
    puts: async () => begun().told,
    endPuts: () => begun().end(),
    async condition({ collected }) {
      if (collected) collect()
      return conditionOf(member())
    },
    joining: async () => member().joining(),
    cutLinks: async () => member().links.cut(),
    mendLinks: async () => member().links.mend(),
    verifyPuts: ({ load, versions }) => verify(member().db, load, versions),
    digest: () => digestOf(member().db),
  }
}

function collect(): void {
  const { gc } = globalThis as { gc?: () => void }
  if (gc === undefined) throw new Error('this process was started without --expose-gc')
  gc()
}

function conditionOf({ db, dir }: EnduringMember): Condition {
  const { rss, heapUsed, external } = process.memoryUsage()
  const { log, storage } = db.status()
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).flatMap(entry => {
    if (!entry.isFile()) return []
    const path = join(entry.parentPath, entry.name)
    // It may be gone meanwhile.
    const bytes = (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * blockBytes
    return [{ isLog: path.slice(dir.length).includes('log'), bytes }]
  })
  const sum = (some: readonly { readonly bytes: number }[]): number =>
    some.reduce((total, { bytes }) => total + bytes, 0)
  return {
    rssBytes: rss,
    heapBytes: heapUsed + external,
    logBytes: storage.logBytes,
    directoryBytes: sum(files),
    logFileBytes: sum(files.filter(({ isLog }) => isLog)),
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    appliedIndex: db.cluster.status().appliedIndex,
    stateBytes: storage.bytes,
  }
}

async function verify(db: Database, load: PutLoad, versions: Uint32Array): Promise<void> {
  const records = new Records(load.records, buffers, load)
  for (let from = 0; from < load.keys; from += readTogether) {
    const some = Array.from({ length: Math.min(readTogether, load.keys - from) }, (_, i) => from + i)
    const keys = some.map(key => records.key(load.from + key))
    const values = await db.getMany<Uint8Array>(keys, { consistency: 'local' })
    for (const [i, value] of values.entries()) {
      const key = some[i]!
      const version = versions[key]!
      if (version === 0 && value === undefined) continue
      records.check(load.from + key, value, true)
      if (versionOf(value!) !== version) {
        throw new Error(`record ${load.from + key} has version ${versionOf(value!)}, acknowledged was ${version}`)
      }
    }
  }
}

async function digestOf(db: Database): ReturnType<EnduranceAsks['digest']> {
  const hash = createHash('sha256')
  let keys = 0
  const { appliedIndex } = db.cluster.status()
  for await (const { key, value, version } of db.scan<Uint8Array>({}, { consistency: 'local' })) {
    hash
      .update(key[0] as Uint8Array)
      .update(value)
      .update(version)
    keys++
  }
  return { appliedIndex, keys, sha256: hash.digest('hex') }
}
