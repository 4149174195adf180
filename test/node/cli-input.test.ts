/**
 * What comes from outside to the command line and its control endpoint: text of keys and values, lines of an import, control frames,
 * `.serve.json`, addresses of web files. Decoders are total: any input gives a value or a typed error, nothing throws.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Answer,
  decodeRequest,
  decodeResponse,
  encodeAnswer,
  encodeFailure,
  encodeRequest,
  type Request,
} from '../../platform/node/cli/control-wire.ts'
import { parseRecord } from '../../platform/node/cli/import-command.ts'
import { type Line, linesOf } from '../../platform/node/cli/lines.ts'
import { decodeServeFile } from '../../platform/node/cli/serve-file.ts'
import { keyToText, parseKey, parseValue, valueToText } from '../../platform/node/cli/tagged-json.ts'
import { webFiles } from '../../platform/node/cli/web-files.ts'
import { errorCodes, HarmonyError } from '../../src/base/errors.ts'
import { timestamp } from '../../src/base/ids.ts'
import { EntryPacker } from '../../src/database/entries.ts'
import { type TemporaryFolder, temporaryFolder } from './cli-kit.ts'

const bytes = fc.uint8Array({ maxLength: 40 })
const keyPart = fc.oneof(bytes, fc.string({ unit: 'binary' }), fc.double({ noNaN: true }), fc.bigInt(), fc.boolean())

/** Everything that the database stores, as far as text is concerned. */
const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, undefined, Number.NaN, -0, Infinity, -Infinity),
    fc.boolean(),
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }),
    bytes,
    fc.float32Array({ maxLength: 5 }),
    fc.bigInt64Array({ maxLength: 5 }),
    bytes.map(content => content.slice().buffer),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.uniqueArray(tie('value'), { maxLength: 4 }).map(items => new Set(items)),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map(pairs => new Map(pairs)),
    fc
      .array(
        fc.tuple(fc.oneof(fc.string(), fc.constantFrom('__proto__', '$date', '$object', 'constructor')), tie('value')),
        { maxLength: 4 },
      )
      .map(entries => Object.fromEntries(entries)),
  ),
}))

describe('keys and values as text', () => {
  test('every key survives being shown and read', () => {
    fc.assert(
      fc.property(fc.array(keyPart, { minLength: 1, maxLength: 5 }), key => {
        expect(parseKey(keyToText(key))).toEqual({ ok: true, value: key })
      }),
    )
  })

  test('every value survives being shown and read', () => {
    fc.assert(
      fc.property(value, original => {
        // vitest's equality asks an object for its `constructor`, which here may be anything.
        expect(isDeepStrictEqual(parseValue(valueToText(original)), { ok: true, value: original })).toBe(true)
      }),
    )
  })

  test('holes in arrays and invalid dates survive, which equality does not see', () => {
    const holes: unknown[] = [1]
    holes.length = 3
    const parsed = parseValue(valueToText({ holes, date: new Date(Number.NaN) }))
    const read = (parsed as { value: { holes: unknown[]; date: Date } }).value
    expect([0 in read.holes, 1 in read.holes, read.holes.length]).toEqual([true, false, 3])
    expect(read.date.getTime()).toBeNaN()
  })

  test('`__proto__` is a name like any other and pollutes nothing', () => {
    const parsed = parseValue('{"__proto__":{"polluted":true},"a":{"$object":[["__proto__",1]]}}')
    const read = (parsed as { value: Record<string, unknown> }).value
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
    expect(Object.keys(read)).toEqual(['__proto__', 'a'])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test.each([
    ['bare', ['bare']],
    ['', ['']],
    ['42', ['42']],
    ['{"a":1}', ['{"a":1}']],
    ['["user",1]', ['user', 1]],
    ['[{"$bigint":"-12"},{"$bytes":""},false,-0]', [-12n, new Uint8Array(), false, -0]],
  ])('key %j', (text, key) => {
    expect(parseKey(text)).toEqual({ ok: true, value: key })
  })

  test('what is no key', () => {
    const texts = [
      '[',
      '[]',
      '[null]',
      '[[1]]',
      '[{}]',
      '[{"$number":"NaN"}]',
      '[{"$bigint":"1.5"}]',
      '[{"$bigint":12}]',
      '[{"$bytes":"a"}]',
      '[{"$bytes":"_-=="}]',
      '[{"$date":1}]',
      '[{"$bigint":"1","x":2}]',
      `[{"$bigint":"${'9'.repeat(5_001)}"}]`,
    ]
    for (const text of texts) {
      expect(parseKey(text), text.slice(0, 60)).toMatchObject({ ok: false, error: { code: 'INVALID_KEY' } })
    }
  })

  test('what is no value', () => {
    const texts = [
      '{"a":',
      '[1,',
      '"open',
      '{"$nonsense":1}',
      '{"$hole":true}',
      '{"$map":[[1]]}',
      '{"$map":{}}',
      '{"$set":1}',
      '{"$typed":["Function","AA=="]}',
      '{"$typed":["constructor","AA=="]}',
      '{"$typed":["Float64Array","AA=="]}',
      '{"$object":[[1,2]]}',
      '{"$date":"never"}',
      '{"$undefined":1}',
      `${'['.repeat(501)}${']'.repeat(501)}`,
    ]
    for (const text of texts) {
      expect(parseValue(text), text.slice(0, 60)).toMatchObject({ ok: false, error: { code: 'INVALID_VALUE' } })
    }
  })

  test('pitfall 42: any text is a key or INVALID_KEY, a value or INVALID_VALUE, a record or an error', () => {
    const tags = fc.constantFrom('$bigint', '$bytes', '$date', '$map', '$set', '$typed', '$object', '$hole', '$number')
    const json = fc.letrec(tie => ({
      node: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, true, 1, 'AA==', '12', 'NaN', 'Int8Array'),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(fc.oneof(tags, fc.string()), tie('node'), { maxKeys: 2 }),
      ),
    })).node
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          json.map(one => JSON.stringify(one)),
        ),
        text => {
          for (const { ok, error, code } of [
            { ...parseKey(text), code: 'INVALID_KEY' },
            { ...parseValue(text), code: 'INVALID_VALUE' },
          ] as { ok: boolean; error?: HarmonyError; code: string }[]) {
            if (!ok) expect(error?.code).toBe(code)
          }
          const record = parseRecord(text)
          if (!record.ok) expect(record.error).toBeInstanceOf(HarmonyError)
          expect(decodeServeFile(text)).toBeUndefined()
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

describe('lines', () => {
  async function linesIn(chunks: readonly Uint8Array[], lineBytesMax = 1_000): Promise<Line[]> {
    async function* given(): AsyncGenerator<Uint8Array> {
      yield* chunks
    }
    const lines: Line[] = []
    for await (const line of linesOf(given(), lineBytesMax)) lines.push(line)
    return lines
  }

  test('however the bytes are cut, the lines are the same', async () => {
    const line = fc.string({ unit: 'binary' }).map(text => text.replace(/[\r\n]/g, '').toWellFormed())
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat(8)), fc.constantFrom('\n', '\r\n'), async (texts, cuts, end) => {
        let rest: Uint8Array = Buffer.from(texts.map(text => text + end).join(''))
        const chunks: Uint8Array[] = []
        for (const cut of cuts) {
          chunks.push(rest.subarray(0, cut))
          rest = rest.subarray(cut)
        }
        expect(await linesIn([...chunks, rest])).toEqual(texts.map((text, i) => ({ number: i + 1, text })))
      }),
    )
  })

  test('what is too long or not UTF-8 is told with its number, and the next line is read', async () => {
    const chunks = ['a\n', 'x'.repeat(700), 'x'.repeat(700), '\nb\n'].map(text => Buffer.from(text))
    const lines = await linesIn([...chunks, Buffer.from([0xff, 0x0a]), Buffer.from('c')])
    expect(lines).toEqual([
      { number: 1, text: 'a' },
      { number: 2, problem: 'it is longer than 1000 bytes' },
      { number: 3, text: 'b' },
      { number: 4, problem: 'it is not UTF-8' },
      { number: 5, text: 'c' },
    ])
  })
})

describe('control frames', () => {
  const options = fc.record({
    consistency: fc.constantFrom('linearizable', 'bounded', 'session', 'local'),
    maxStalenessMs: fc.nat(),
    timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  })
  const text = fc.string()
  const entry = fc.record({ key: bytes, value: bytes, version: fc.nat({ max: Number.MAX_SAFE_INTEGER }) })
  const packed = (entries: fc.Arbitrary<{ key: Uint8Array; value: Uint8Array; version: number } | undefined>) =>
    fc.array(entries).map(list => {
      const packer = new EntryPacker()
      for (const one of list) {
        if (one === undefined) packer.absent()
        else packer.add(one.key, one.key.length, one.version, one.value, 0, one.value.length)
      }
      return packer.finish()
    })
  const requests: fc.Arbitrary<Request> = fc.oneof(
    fc.record({ verb: fc.constant('read'), keys: fc.array(bytes), options }),
    fc.record({
      verb: fc.constant('scan'),
      scan: fc
        .tuple(
          options,
          fc.record({
            from: fc.option(bytes, { nil: undefined }),
            to: fc.option(bytes, { nil: undefined }),
            reverse: fc.boolean(),
            keysOnly: fc.boolean(),
            limit: fc.integer({ min: 1 }),
            continuation: fc.option(fc.record({ snapshot: text, after: bytes }), { nil: undefined }),
          }),
        )
        .map(([one, two]) => ({ ...one, ...two })),
    }),
    fc.record({
      verb: fc.constant('write'),
      write: fc.record({
        ops: fc.array(
          fc.oneof(
            fc.record({ type: fc.constant('put'), key: bytes, value: bytes }),
            fc.record({ type: fc.constant('delete'), key: bytes }),
          ),
        ),
        checks: fc.array(fc.record({ key: bytes, at: fc.maxSafeNat().map(timestamp) })),
        idempotencyKey: fc.option(text, { nil: undefined }),
        timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      }),
    }),
    fc.record({ verb: fc.constant('mirror') }),
    fc.record({ verb: fc.constant('prepared'), timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }) }),
    fc.record({
      verb: fc.constant('decide'),
      decision: fc.record({ id: text, commit: fc.boolean(), timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }) }),
    }),
  ) as fc.Arbitrary<Request>
  const answers: fc.Arbitrary<Answer> = fc.oneof(
    fc.record({ verb: fc.constant('read'), entries: packed(fc.option(entry, { nil: undefined })) }),
    fc.record({
      verb: fc.constant('scan'),
      page: fc.record({ snapshot: text, done: fc.boolean(), entries: packed(entry) }),
    }),
    fc.record({ verb: fc.constant('write'), version: text }),
    fc.record({ verb: fc.constant('decide'), version: text }),
    fc.record({
      verb: fc.constant('prepared'),
      transactions: fc.array(fc.record({ id: text, keys: fc.nat(), preparedAtMs: fc.maxSafeNat(), holdMs: fc.nat() })),
    }),
  ) as fc.Arbitrary<Answer>
  const failures = fc
    .record({
      code: fc.constantFrom(...errorCodes),
      message: text,
      retryable: fc.boolean(),
      maybeCommitted: fc.boolean(),
    })
    .map(({ code, message, ...effect }) => new HarmonyError(code, message, effect))

  test('requests, answers and failures come out as they went in', () => {
    fc.assert(
      fc.property(requests, answers, failures, (request, answer, failure) => {
        expect(decodeRequest(encodeRequest(request))).toEqual(request)
        expect(decodeResponse(answer.verb, encodeAnswer(answer))).toEqual(answer)
        const { code, message, retryable, maybeCommitted } = failure
        expect(decodeResponse('read', encodeFailure(failure))).toMatchObject({
          code,
          message,
          retryable,
          maybeCommitted,
        })
      }),
    )
  })

  test('pitfall 43: cut short, made longer or flipped, a frame is refused or another frame; it never throws', () => {
    const frames = fc.oneof(
      requests.map(encodeRequest),
      answers.map(encodeAnswer),
      failures.map(encodeFailure),
      fc.uint8Array({ maxLength: 100 }),
    )
    const damages = fc.record({ at: fc.nat(200), bit: fc.nat(7), cut: fc.nat(200) })
    fc.assert(
      fc.property(frames, damages, (frame, { at, bit, cut }) => {
        const flipped = frame.slice()
        if (at < flipped.length) flipped[at] = (flipped[at] as number) ^ (1 << bit)
        const longer = new Uint8Array(frame.length + 1)
        longer.set(frame)
        for (const bad of [flipped, frame.subarray(0, cut), longer]) {
          decodeRequest(bad)
          for (const verb of ['read', 'scan', 'write', 'mirror'] as const) decodeResponse(verb, bad)
        }
        // Nothing may stand behind the end.
        expect(decodeRequest(longer) === undefined || decodeRequest(frame) === undefined).toBe(true)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('.serve.json', () => {
  const token = 'ab'.repeat(32)

  test('is read as it is written', () => {
    const content = { pid: 7, url: 'ws://127.0.0.1:80/control', token }
    expect(decodeServeFile(JSON.stringify(content))).toEqual(content)
  })

  test('is nothing else', () => {
    const texts = [
      '',
      'null',
      '[]',
      '{}',
      `{"pid":"7","url":"ws://127.0.0.1:80/control","token":"${token}"}`,
      `{"pid":7,"url":"ws://127.0.0.1:80/elsewhere","token":"${token}"}`,
      `{"pid":7,"url":"https://127.0.0.1/control","token":"${token}"}`,
      `{"pid":7,"url":"ws://127.0.0.1:80/control","token":"${token}\\r\\nx: y"}`,
      `{"pid":7,"url":"ws://127.0.0.1:80/control","token":"${token}","more":"${'x'.repeat(5_000)}"}`,
    ]
    for (const text of texts) {
      expect(decodeServeFile(text), text.slice(0, 60)).toBeUndefined()
    }
  })
})

describe('web files', () => {
  let folder: TemporaryFolder
  let server: http.Server

  beforeAll(async () => {
    folder = temporaryFolder()
    mkdirSync(folder.in('web/sub'), { recursive: true })
    writeFileSync(folder.in('secret.txt'), 'secret')
    writeFileSync(folder.in('web/index.html'), '<p>hello')
    writeFileSync(folder.in('web/sub/a b.js'), '1')
    symlinkSync(folder.in('secret.txt'), folder.in('web/link.txt'))
    server = http.createServer(webFiles(folder.in('web')))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })

  afterAll(() => {
    server.close()
    folder.remove()
  })

  /** The path as it is: `fetch` would tidy it. */
  function asked(path: string, method = 'GET'): Promise<{ status: number | undefined; type: string; body: string }> {
    const { port } = server.address() as AddressInfo
    return new Promise((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port, path, method }, response => {
        let body = ''
        response.setEncoding('utf8').on('data', chunk => {
          body += chunk
        })
        const type = String(response.headers['content-type'])
        response.on('end', () => resolve({ status: response.statusCode, type, body }))
      })
      request.on('error', reject)
      request.end()
    })
  }

  test('are served with their type; a folder is its index.html', async () => {
    expect(await asked('/')).toEqual({ status: 200, type: 'text/html; charset=utf-8', body: '<p>hello' })
    expect(await asked('/sub/a%20b.js?v=1')).toMatchObject({ status: 200, type: 'text/javascript; charset=utf-8' })
    expect(await asked('/', 'HEAD')).toMatchObject({ status: 200, body: '' })
    expect(await asked('/', 'POST')).toMatchObject({ status: 405 })
  })

  test.each([
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/sub/../../secret.txt',
    '/link.txt',
    '/%00',
    '/%',
    '/..\\secret.txt',
    '/sub/',
    '/nothing',
    '//etc/passwd',
  ])('nothing outside the folder: %s', async path => {
    expect((await asked(path)).status).toBe(404)
  })
})
