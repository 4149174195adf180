/** The command line on a directory: what it prints, what it refuses, and the status that it ends with. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, open } from '../../platform/node/entry.ts'
import {
  type Bundle,
  bundle,
  type Ended,
  type RunOptions,
  run,
  runHere,
  type TemporaryFolder,
  temporaryFolder,
} from './cli-kit.ts'

let built: Bundle
let folder: TemporaryFolder

beforeAll(async () => {
  built = await bundle()
})
afterAll(() => built.remove())
const home = process.cwd()
beforeEach(() => {
  delete process.env.HARMONYDB_SECRET
  folder = temporaryFolder()
  process.chdir(folder.path)
})
afterEach(() => {
  process.chdir(home)
  folder.remove()
})

/** As a process: what concerns pipes, the environment, the working directory. */
const spawned = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
  run(built.cli, args, { cwd: folder.path, ...options })

const harmonydb = runHere

/** Fills `folder/db` in this process: quicker than a command each. */
async function filled(fill: (db: Database) => Promise<unknown>): Promise<string> {
  const dir = folder.in('db')
  await using db = await open({ name: 'db', storage: { dir } })
  await fill(db)
  return dir
}

describe('help and usage', () => {
  const commands = [
    'serve',
    'signal',
    'get',
    'put',
    'delete',
    'scan',
    'import',
    'prepared',
    'status',
    'compact',
    'verify',
    'recover',
    'check',
  ]

  test('--help names every command, how keys and values are written, and every exit status', async () => {
    const { status, out, err } = await harmonydb(['--help'])
    expect({ status, err }).toEqual({ status: 0, err: '' })
    for (const command of commands) expect(out).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
    for (const text of ['$bigint', '$bytes', 'Examples', 'HARMONYDB_SECRET']) expect(out).toContain(text)
    for (let code = 0; code <= 8; code++) expect(out).toMatch(new RegExp(`^  ${code}  `, 'm'))
  })

  test('every command has --help with an example', async () => {
    const helps = await Promise.all(commands.map(command => harmonydb([command, '--help'])))
    for (const [i, { status, out, err }] of helps.entries()) {
      expect({ status, err }).toEqual({ status: 0, err: '' })
      expect(out).toContain(`Usage: harmonydb ${commands[i]}`)
      expect(out, commands[i]).toMatch(new RegExp(`^  \\$ .*harmonydb ${commands[i]}`, 'm'))
    }
  })

  test('--version prints one line', async () => {
    const { status, out } = await harmonydb(['--version'])
    expect({ status, out }).toEqual({ status: 0, out: '1.2.3\n' })
  })

  test.each([
    { args: [], about: 'Usage' },
    { args: ['frobnicate'], about: 'frobnicate' },
    { args: ['get'], about: 'key' },
    { args: ['get', 'a', 'b'], about: 'arguments' },
    { args: ['get', 'a', '--nonsense'], about: '--nonsense' },
    { args: ['get', 'a', '--consistency', 'hopeful'], about: 'linearizable' },
    { args: ['scan', '--limit', '0'], about: 'limit' },
    { args: ['scan', '--limit', '1e3'], about: 'limit' },
    { args: ['serve', '--port', '65536'], about: '65535' },
    { args: ['serve', '--room', 'r'], about: 'HARMONYDB_SECRET' },
    { args: ['serve', '--secret', 'correct horse'], about: '--room' },
    { args: ['put', 'a', '1', '--if-version', 'x', '--if-absent'], about: '--if-absent' },
    { args: ['put', '[', '1'], about: 'JSON' },
    { args: ['put', '[]', '1'], about: 'part' },
    { args: ['put', '[null]', '1'], about: 'part 0' },
    { args: ['put', '[{"$number":"NaN"}]', '1'], about: 'NaN' },
    { args: ['put', 'a', '{"b":'], about: 'JSON' },
    { args: ['put', 'a', '{"$date":"yesterday"}'], about: '$date' },
    { args: ['put', 'a', '{"$bytes":"?"}'], about: '$bytes' },
    { args: ['get', 'a', '--dir', 'nowhere'], about: 'nowhere' },
    { args: ['import', 'missing.jsonl'], about: 'missing.jsonl' },
    { args: ['get', 'a', '--name', '../up'], about: 'name' },
  ])('$args is usage: status 2, a message on standard error, nothing made', async ({ args, about }) => {
    const { status, out, err } = await harmonydb(args)
    expect({ status, out }, err).toEqual({ status: 2, out: '' })
    expect(err).toContain(about)
    expect(err).not.toMatch(/^\s+at /m)
    expect(readdirSync(folder.path)).toEqual([])
  })
})

describe('put, get, delete', () => {
  test('a round through a directory that the first put makes', async () => {
    const put = await spawned(['put', '["user",1]', '{"name":"Ada","born":{"$date":"1815-12-10T00:00:00.000Z"}}'])
    expect(put).toMatchObject({ status: 0, err: '' })
    expect(existsSync(folder.in('harmony.harmony'))).toBe(true)
    const version = put.out.trim()

    const got = await harmonydb(['get', '["user",1]'])
    expect(got).toEqual({
      status: 0,
      out: '{"name":"Ada","born":{"$date":"1815-12-10T00:00:00.000Z"}}\n',
      err: '',
    })
    const json = await harmonydb(['get', '["user",1]', '--json'])
    expect(JSON.parse(json.out)).toEqual({
      key: ['user', 1],
      value: { name: 'Ada', born: { $date: '1815-12-10T00:00:00.000Z' } },
      version,
    })
    expect(await harmonydb(['delete', '["user",1]'])).toMatchObject({ status: 0, err: '' })
    expect(await spawned(['get', '["user",1]'])).toEqual({
      status: 3,
      out: '',
      err: 'harmonydb: there is no key ["user",1]\n',
    })
  })

  test('what a program stored is what the command line shows, and the other way round', async () => {
    const key = ['k', 2n ** 70n, true, Uint8Array.of(1, 2)]
    const value = { list: [1, -0, Number.NaN], map: new Map([[1n, new Set(['a'])]]), $odd: undefined }
    const dir = await filled(db => db.put(key, value))
    const keyText = '["k",{"$bigint":"1180591620717411303424"},true,{"$bytes":"AQI="}]'
    const got = await harmonydb(['get', keyText, '--dir', dir])
    expect(got).toMatchObject({ status: 0, err: '' })
    expect(await harmonydb(['put', 'copy', got.out.trim(), '--dir', dir])).toMatchObject({ status: 0, err: '' })
    await using db = await open({ name: 'db', storage: { dir } })
    expect(await db.get('copy')).toEqual(value)
  })

  test('values: bare text, --string, standard input, --raw', async () => {
    const dir = folder.in('db')
    await harmonydb(['put', 'bare', 'hello world', '--dir', dir])
    await harmonydb(['put', 'digits', '42', '--string', '--dir', dir])
    await spawned(['put', 'stdin', '-', '--dir', dir], { stdin: '[1,2]\n' })
    await harmonydb(['put', 'bytes', '{"$bytes":"aGk="}', '--dir', dir])
    {
      await using db = await open({ name: 'db', storage: { dir } })
      expect(await db.getMany(['bare', 'digits', 'stdin'])).toEqual(['hello world', '42', [1, 2]])
    }
    expect((await harmonydb(['get', 'bare', '--raw', '--dir', dir])).out).toBe('hello world')
    expect((await harmonydb(['get', 'bytes', '--raw', '--dir', dir])).out).toBe('hi')
  })

  test('conditions that do not hold are CONFLICT: status 7, nothing written', async () => {
    const dir = await filled(db => db.put('a', 1))
    for (const condition of [['--if-absent'], ['--if-version', '00000000000000'], ['--if-version', 'nonsense']]) {
      const { status, err } = await harmonydb(['put', 'a', '2', '--dir', dir, ...condition])
      expect(status, condition.join(' ')).toBe(7)
      expect(err).toMatch(/^harmonydb: CONFLICT: /)
    }
    expect((await harmonydb(['get', 'a', '--dir', dir])).out).toBe('1\n')
    const { version } = JSON.parse((await harmonydb(['get', 'a', '--dir', dir, '--json'])).out)
    expect((await harmonydb(['put', 'a', '2', '--dir', dir, '--if-version', version])).status).toBe(0)
    expect((await harmonydb(['put', 'b', '1', '--dir', dir, '--if-absent'])).status).toBe(0)
  })

  test('prepared transactions are listed and decided; a decision that comes too late is CONFLICT', async () => {
    const dir = await filled(async db => {
      for (const id of ['one', 'two words']) {
        const tx = await db.begin()
        tx.put(id, 1)
        await tx.prepare({ id, holdMs: 3_600_000 })
      }
    })
    const at = ['--dir', dir]
    const shown = await harmonydb(['prepared', ...at])
    expect(shown).toMatchObject({ status: 0, err: '' })
    expect(shown.out).toMatch(/^"one"\t1 keys\tsince 20\d\d-.*Z\theld for 3600 s\n"two words"\t/)
    expect((await harmonydb(['status', ...at])).out).toMatch(/^prepared {3}2 transactions, 2 keys$/m)
    expect(await harmonydb(['put', 'one', '2', ...at])).toMatchObject({
      status: 7,
      err: expect.stringMatching(/^harmonydb: CONFLICT: .*"one"/),
    })
    const { out: version } = await harmonydb(['prepared', 'commit', 'one', ...at])
    expect(JSON.parse((await harmonydb(['prepared', 'commit', 'one', '--json', ...at])).out)).toEqual({
      id: 'one',
      version: version.trim(),
    })
    expect((await harmonydb(['get', 'one', ...at])).out).toBe('1\n')
    expect((await harmonydb(['prepared', 'rollback', 'one', ...at])).status).toBe(7)
    expect(await harmonydb(['prepared', 'rollback', 'two words', ...at])).toEqual({ status: 0, out: '', err: '' })
    expect((await harmonydb(['prepared', 'commit', 'two words', ...at])).status).toBe(7)
    expect((await harmonydb(['get', 'two words', ...at])).status).toBe(3)
    expect(await harmonydb(['prepared', '--json', ...at])).toEqual({ status: 0, out: '', err: '' })
    for (const wrong of [['commit'], ['commit', 'three'], ['forget', 'one'], ['commit', 'one', 'two']])
      expect((await harmonydb(['prepared', ...wrong, ...at])).status, wrong.join(' ')).toBe(2)
  })

  test('a key that is too large for the database is status 2', async () => {
    const { status, err } = await harmonydb(['put', 'k'.repeat(20_000), '1'])
    expect(status).toBe(2)
    expect(err).toMatch(/^harmonydb: (TOO_LARGE|INVALID_KEY): /)
  })
})

describe('scan', () => {
  test('prefix, start, end, limit, reverse, keys only, JSON', async () => {
    const dir = await filled(db =>
      db.batch([
        ...[1, 2, 10, 20].map(n => ({ type: 'put' as const, key: ['n', n], value: n * 2 })),
        { type: 'put', key: 'other', value: 'x' },
      ]),
    )
    const scan = async (...args: string[]): Promise<string[]> => {
      const { status, out, err } = await harmonydb(['scan', '--dir', dir, ...args])
      expect({ status, err }).toEqual({ status: 0, err: '' })
      return out.split('\n').slice(0, -1)
    }
    expect(await scan()).toEqual(['["n",1]\t2', '["n",2]\t4', '["n",10]\t20', '["n",20]\t40', '["other"]\t"x"'])
    expect(await scan('--prefix', 'n', '--start', '["n",2]', '--end', '["n",20]')).toEqual([
      '["n",2]\t4',
      '["n",10]\t20',
    ])
    expect(await scan('--prefix', 'n', '--reverse', '--limit', '1', '--keys-only')).toEqual(['["n",20]'])
    expect(await scan('--prefix', 'nobody')).toEqual([])
    const [line = ''] = await scan('--start', '["other"]', '--json')
    expect(JSON.parse(line)).toEqual({ key: ['other'], value: 'x', version: expect.any(String) })
    const [keyOnly = ''] = await scan('--start', '["other"]', '--json', '--keys-only')
    expect(JSON.parse(keyOnly)).toEqual({ key: ['other'], version: expect.any(String) })
  })

  test('a reader that goes away ends it quietly', async () => {
    const dir = await filled(db =>
      db.batch(Array.from({ length: 5_000 }, (_, n) => ({ type: 'put', key: ['n', n], value: 'x'.repeat(500) }))),
    )
    const { status, err } = await spawned(['scan', '--dir', dir], { hangUp: true })
    expect({ status, err }).toEqual({ status: 0, err: '' })
  })
})

describe('import', () => {
  test('imports every line, in batches, the later of two lines of one key winning', async () => {
    const lines = Array.from({ length: 2_345 }, (_, n) =>
      JSON.stringify({ key: ['city', n], value: { n, name: `c${n}` } }),
    )
    lines.push(JSON.stringify({ key: ['city', 7], value: 'later' }), '', '{"key":"bare","value":{"$bigint":"5"}}')
    writeFileSync(folder.in('cities.jsonl'), lines.join('\r\n'))
    const { status, out, err } = await harmonydb(['import', 'cities.jsonl', '--dir', 'db', '--json'])
    expect(status, err).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ imported: 2_347, skipped: 0 })
    await using db = await open({ name: 'db', storage: { dir: folder.in('db') } })
    expect(await db.scan({}, { keysOnly: true }).toArray()).toHaveLength(2_346)
    expect(await db.getMany([['city', 7], ['city', 2_344], 'bare'])).toEqual(['later', { n: 2_344, name: 'c2344' }, 5n])
  })

  test('bad lines are named by their number and left out; the others go in; status 1', async () => {
    const lines = [
      '{"key":"a","value":1}',
      'no JSON',
      '{"key":"b"}',
      '{"key":[],"value":1}',
      '{"key":[{"$number":"NaN"}],"value":1}',
      `{"key":"${'k'.repeat(20_000)}","value":1}`,
      '{"key":"c","value":{"$typed":["Function","AA=="]}}',
      '[1]',
      '{"key":"d","value":4}',
    ]
    const stdin = Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from([0x22, 0xff, 0xfe, 0x22])])
    const { status, err } = await spawned(['import', '-', '--dir', 'db'], { stdin })
    expect(status).toBe(1)
    const named = [...err.matchAll(/^line (\d+): /gm)].map(([, number]) => Number(number))
    expect(named.sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 10])
    expect(err).toContain('8 lines were not imported')
    await using db = await open({ name: 'db', storage: { dir: folder.in('db') } })
    expect((await db.scan().toArray()).map(({ key, value }) => [key, value])).toEqual([
      [['a'], 1],
      [['d'], 4],
    ])
  })

  test('the first problems only are shown when there are many', async () => {
    const { status, err } = await spawned(['import', '-', '--dir', 'db'], { stdin: 'x\n'.repeat(10_000) })
    expect(status).toBe(1)
    expect([...err.matchAll(/^line /gm)]).toHaveLength(20)
    expect(err).toContain('10000 lines were not imported')
  })
})

describe('status', () => {
  test('of a directory: the peer, what it stores, no room', async () => {
    const dir = await filled(db => db.put('a', 1))
    const { status, out, err } = await harmonydb(['status', '--dir', dir, '--json'])
    expect({ status, err }).toEqual({ status: 0, err: '' })
    const shown = JSON.parse(out)
    expect(shown).toMatchObject({
      dir,
      through: 'directory',
      cluster: { health: 'solo', role: 'leader', leader: shown.cluster.self },
      members: [{ id: shown.cluster.self, self: true, leader: true, kind: 'node' }],
      status: { storage: { kind: dir, keys: 1, durability: 'strict' } },
    })
    const text = await harmonydb(['status', '--dir', dir])
    expect(text.out).toContain(shown.cluster.self)
    expect(text.out).toContain('no peer runs on it')
  })
})

describe('compact', () => {
  test('gives back what was deleted, and says how much', async () => {
    const dir = await filled(async db => {
      await db.batch(
        Array.from({ length: 1000 }, (_, i) => ({ type: 'put', key: i, value: Math.sin(i).toString().repeat(40) })),
      )
      await db.compact()
      await db.batch(Array.from({ length: 990 }, (_, i) => ({ type: 'delete', key: i })))
    })
    const { status, out } = await harmonydb(['compact', '--dir', dir, '--json'])
    expect(status).toBe(0)
    const { bytesBefore, bytesAfter } = JSON.parse(out)
    expect(bytesAfter).toBeLessThan(bytesBefore / 2)
    expect((await harmonydb(['compact', '--dir', dir])).out).toMatch(/^\d+ bytes, \d+ less than before\n$/)
    expect((await harmonydb(['verify', dir])).out).toMatch(/\nwhole\n$/)
  })
})

describe('verify', () => {
  test('a whole directory, a damaged one, and none at all', async () => {
    const dir = await filled(async db => {
      for (let i = 0; i < 5; i++) await db.put(['n', i], i)
      const tx = await db.begin()
      tx.put(['n', 0], 'later')
      await tx.prepare({ id: 'order 1' })
    })
    const whole = await harmonydb(['verify', dir, '--json'])
    expect(whole.status).toBe(0)
    expect(JSON.parse(whole.out)).toMatchObject({ findings: [], state: { keys: 5, prepared: 1 } })
    expect((await harmonydb(['verify', dir])).out).toMatch(/\nprepared +1, not decided .*\nwhole\n$/)

    const [segment] = readdirSync(dir).filter(name => name.endsWith('.log'))
    const path = join(dir, segment as string)
    const bytes = readFileSync(path)
    const at = 4096 + 200
    bytes[at] = (bytes[at] as number) ^ 1
    writeFileSync(path, bytes)
    const damaged = await harmonydb(['verify', dir])
    expect(damaged.status).toBe(6)
    expect(damaged.out).toMatch(/damage +CORRUPT: the write-ahead log is damaged at byte/)
    expect(damaged.out).toMatch(/DAMAGED: 1 finding\n$/)

    expect(await harmonydb(['verify', folder.in('nothing')])).toMatchObject({ status: 2, out: '' })
    expect(existsSync(folder.in('nothing'))).toBe(false)
  })

  test('a directory that is open is LOCKED, status 5', async () => {
    const dir = folder.in('db')
    await using _db = await open({ name: 'db', storage: { dir } })
    expect(await harmonydb(['verify', dir])).toMatchObject({ status: 5, out: '' })
  })
})

describe('directories that cannot be used', () => {
  test('one that another process has open, and which serves nobody: LOCKED, status 5', async () => {
    const dir = folder.in('db')
    await using _db = await open({ name: 'db', storage: { dir } })
    const { status, err } = await harmonydb(['get', 'a', '--dir', dir])
    expect(status).toBe(5)
    expect(err).toMatch(/^harmonydb: LOCKED: /)
    expect(err).toContain(String(process.pid))
  })

  test('one of somebody else: CORRUPT, status 6', async () => {
    mkdirSync(folder.in('db'))
    writeFileSync(folder.in('db/notes.txt'), 'hello')
    for (const args of [
      ['get', 'a'],
      ['put', 'a', '1'],
      ['serve', '--port', '0'],
    ]) {
      const { status, err } = await harmonydb([...args, '--dir', folder.in('db')])
      expect(status, args[0]).toBe(6)
      expect(err).toMatch(/^harmonydb: CORRUPT: .*notes\.txt/)
    }
    expect(readdirSync(folder.in('db'))).toEqual(['notes.txt'])
  })

  test('a stale .serve.json of a killed peer is no hindrance', async () => {
    const dir = await filled(db => db.put('a', 1))
    const token = 'ab'.repeat(32)
    for (const left of [`{"pid":1,"url":"ws://127.0.0.1:9/control","token":"${token}"}`, 'garbage', '', '{"pid":1}']) {
      writeFileSync(`${dir}/.serve.json`, left)
      expect(await harmonydb(['get', 'a', '--dir', dir]), left).toEqual({ status: 0, out: '1\n', err: '' })
    }
  })
})

describe('check', () => {
  const line = (client: number, type: string, rest: object = {}) => `${JSON.stringify({ client, type, ...rest })}\n`
  const put = line(0, 'invoke', { op: 'put', key: 'x', value: 1 }) + line(0, 'ok')
  const get = line(1, 'invoke', { op: 'get', key: 'x' })

  test('says what a history is with its exit status: allowed, not allowed, undecided, not readable', async () => {
    const file = folder.in('history.jsonl')
    writeFileSync(file, put + get + line(1, 'ok', { value: 1 }))
    expect(await harmonydb(['check', file])).toMatchObject({ status: 0, out: 'holds: key-value, 2 calls\n' })
    expect(await harmonydb(['check', file, '--states', '1'])).toMatchObject({ status: 4 })
    writeFileSync(file, put + get + line(1, 'ok'))
    const violated = await harmonydb(['check', file])
    expect(violated).toMatchObject({ status: 1 })
    expect(violated.out).toContain('no order explains get -> nothing (client 1, lines 3 to 4)')
    const report = JSON.parse((await harmonydb(['check', file, '--json'])).out)
    expect(report).toMatchObject({ model: 'key-value', verdict: 'violated', calls: 2, findings: [{ lines: [3] }] })
    writeFileSync(file, `${put}{`)
    const unreadable = await harmonydb(['check', file])
    expect(unreadable).toMatchObject({ status: 2, out: '' })
    expect(unreadable.err).toContain('line 3: it is not JSON')
    expect(await harmonydb(['check', folder.in('nothing')])).toMatchObject({ status: 2, out: '' })
  })

  test('takes the model and the level', async () => {
    const file = folder.in('skew.jsonl')
    const txn = (client: number, read: string, append: string) =>
      line(client, 'ok', {
        txn: [
          ['read', read, []],
          ['append', append, 1],
        ],
      })
    writeFileSync(file, line(0, 'invoke') + line(1, 'invoke') + txn(0, 'x', 'y') + txn(1, 'y', 'x'))
    const at = (level: string) => harmonydb(['check', '--model', 'list-append', '--level', level, file])
    const serializable = await at('serializable')
    expect(serializable).toMatchObject({ status: 1 })
    expect(serializable.out).toMatch(/^G2-item: /)
    const snapshot = await at('snapshot')
    expect(snapshot).toMatchObject({ status: 0 })
    expect(snapshot.out).toMatch(/^G2-item \(allowed at this level\): [\s\S]*\nholds: list-append snapshot, 2 calls\n$/)
  })
})
