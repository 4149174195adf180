/** What the command line and its control endpoint are given may be anything: text, JSON of any shape, frames of any bytes. */
import assert from 'node:assert'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
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
import {
  keyFromJson,
  keyToText,
  parseKey,
  parseValue,
  valueFromJson,
  valueToText,
} from '../../platform/node/cli/tagged-json.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { timestamp } from '../../src/base/ids.ts'
import { EntryPacker } from '../../src/database/entries.ts'

const numRuns = process.env.DEEP === '1' ? 20_000 : 500
const deep = { numRuns }

const tags = ['$bigint', '$number', '$bytes', '$date', '$map', '$set', '$typed', '$object', '$hole', '$undefined', '$x']
const names = fc.oneof(fc.string(), fc.constantFrom(...tags, '__proto__', 'constructor', 'key', 'value'))
/** JSON that looks like ours often enough. */
const json = fc.letrec<{ any: unknown }>(tie => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.jsonValue(),
    fc.constantFrom('NaN', '-0', 'AA==', 'AAAA', 'Float32Array', '12', '1e5', true, null, 8.64e15),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.array(fc.tuple(tie('any'), tie('any')), { maxLength: 3 }),
    fc.dictionary(names, tie('any'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).any

const keyPart = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double({ noNaN: true }),
  fc.bigInt(),
  fc.boolean(),
  fc.uint8Array({ maxLength: 9 }),
)
const value = fc.letrec<{ any: unknown }>(tie => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, undefined, Number.NaN, -0, Infinity),
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.bigInt(),
    fc.boolean(),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array({ maxLength: 9 }),
    fc.float32Array({ maxLength: 3 }),
    fc.bigUint64Array({ maxLength: 3 }),
    fc.uint8Array({ maxLength: 9 }).map(bytes => bytes.slice().buffer),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.sparseArray(tie('any'), { maxLength: 5 }),
    fc.dictionary(names, tie('any'), { maxKeys: 3, noNullPrototype: true }),
    fc.array(fc.tuple(tie('any'), tie('any')), { maxLength: 3 }).map(pairs => new Map(pairs)),
    fc.array(tie('any'), { maxLength: 3 }).map(items => new Set(items)),
  ),
})).any

describe('keys and values as text', () => {
  it('pitfall 42: any text is a key, a value and a record, or an error that says so; never a throw', () => {
    const texts = fc.oneof(
      fc.string(),
      json.map(one => JSON.stringify(one)),
      fc.string().map(text => `[${text}`),
    )
    fc.assert(
      fc.property(texts, text => {
        for (const parse of [parseKey, parseValue, parseRecord]) {
          const result = parse(text)
          if (!result.ok) expect(result.error).toBeInstanceOf(HarmonyError)
        }
      }),
      deep,
    )
  })

  it('any JSON is decoded or refused, and pollutes no prototype', () => {
    fc.assert(
      fc.property(json, given => {
        keyFromJson(given)
        valueFromJson(given)
        expect(Object.keys(Object.prototype)).toEqual([])
      }),
      deep,
    )
    const result = valueFromJson(JSON.parse('{"__proto__":{"admin":true}}'))
    expect(result.ok && Object.hasOwn(result.value as object, '__proto__')).toBe(true)
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('JSON of any depth ends', () => {
    const depth = 200_000
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
      ['{"$set":[', ']}'],
    ] as const) {
      const result = parseValue(`${open.repeat(depth)}${open.startsWith('{"a') ? '1' : ''}${close.repeat(depth)}`)
      expect(result.ok).toBe(false)
    }
  })

  it('a value comes back from its text as it was', () => {
    fc.assert(
      fc.property(value, given => {
        const result = parseValue(valueToText(given))
        // Not `toStrictEqual`: it looks at a property named constructor.
        assert.deepStrictEqual(result, { ok: true, value: given })
      }),
      deep,
    )
  })

  it('an invalid date comes back as one', () => {
    const result = parseValue(valueToText(new Date(Number.NaN)))
    expect(result.ok && result.value).toEqual(new Date(Number.NaN))
  })

  it('a key comes back from its text as it was', () => {
    fc.assert(
      fc.property(fc.array(keyPart, { minLength: 1, maxLength: 4 }), key => {
        expect(parseKey(keyToText(key))).toStrictEqual({ ok: true, value: key })
      }),
      deep,
    )
  })
})

describe('lines of an import', () => {
  const collect = async (chunks: readonly Uint8Array[], lineBytesMax: number): Promise<Line[]> => {
    async function* stream() {
      yield* chunks
    }
    const lines: Line[] = []
    for await (const line of linesOf(stream(), lineBytesMax)) lines.push(line)
    return lines
  }

  it('are the same however the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 12 }).map(line => line.replace(/[\r\n]/g, '.'))),
        fc.constantFrom('\n', '\r\n'),
        fc.integer({ min: 1, max: 9 }),
        async (texts, end, size) => {
          const bytes = new TextEncoder().encode(texts.map(text => text + end).join(''))
          const chunks: Uint8Array[] = []
          for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
          const lines = await collect(chunks, 1_000)
          expect(lines).toEqual(texts.map((text, i) => ({ number: i + 1, text })))
        },
      ),
      { numRuns: numRuns / 5 },
    )
  })

  it('too long or no UTF-8: named, and the next ones are read', async () => {
    const bytes = Buffer.concat([
      Buffer.from('a\n'),
      Buffer.alloc(50, 120),
      Buffer.from([10, 0xff, 10]),
      Buffer.from('b'),
    ])
    for (const chunk of [1, 7, 100]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / chunk) }, (_, i) =>
        bytes.subarray(i * chunk, (i + 1) * chunk),
      )
      expect(await collect(chunks, 20)).toEqual([
        { number: 1, text: 'a' },
        { number: 2, problem: 'it is longer than 20 bytes' },
        { number: 3, problem: 'it is not UTF-8' },
        { number: 4, text: 'b' },
      ])
    }
  })
})

describe('the control endpoint', () => {
  const bytes = fc.uint8Array({ maxLength: 12 })
  const optional = fc.option(bytes, { nil: undefined })
  const options = fc.record({
    consistency: fc.constantFrom('linearizable', 'bounded', 'session', 'local'),
    maxStalenessMs: fc.nat(),
    timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  })
  const text = fc.string({ maxLength: 14 })
  const request: fc.Arbitrary<Request> = fc.oneof(
    fc.record({ verb: fc.constant('read' as const), keys: fc.array(bytes), options }),
    fc.record({
      verb: fc.constant('scan' as const),
      scan: fc
        .tuple(
          options,
          fc.record({
            from: optional,
            to: optional,
            reverse: fc.boolean(),
            keysOnly: fc.boolean(),
            limit: fc.integer({ min: 1 }),
            continuation: fc.option(fc.record({ snapshot: text, after: bytes }), { nil: undefined }),
          }),
        )
        .map(([first, second]) => ({ ...first, ...second })),
    }),
    fc.record({
      verb: fc.constant('write' as const),
      write: fc.record({
        ops: fc.array(
          fc.oneof(
            fc.record({ type: fc.constant('put' as const), key: bytes, value: bytes }),
            fc.record({ type: fc.constant('delete' as const), key: bytes }),
          ),
        ),
        checks: fc.array(fc.record({ key: bytes, at: fc.maxSafeNat().map(timestamp) })),
        idempotencyKey: fc.option(text, { nil: undefined }),
        timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      }),
    }),
    fc.constant({ verb: 'mirror' as const }),
    fc.record({ verb: fc.constant('prepared' as const), timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }) }),
    fc.record({
      verb: fc.constant('decide' as const),
      decision: fc.record({
        id: fc.string(),
        commit: fc.boolean(),
        timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      }),
    }),
  )

  it('a request comes back from its frame; cut, lengthened or changed it is refused or another request, never a throw', () => {
    fc.assert(
      fc.property(request, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, change) => {
        const frame = encodeRequest(given)
        expect(decodeRequest(frame)).toEqual(given)
        expect(decodeRequest(frame.subarray(0, at % frame.length))).toBeUndefined()
        expect(decodeRequest(Uint8Array.of(...frame, 0))).toBeUndefined()
        const changed = frame.slice()
        changed[at % frame.length]! ^= change
        decodeRequest(changed)
      }),
      deep,
    )
  })

  it('pitfall 43: frames of any bytes are refused without a throw', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom('read', 'scan', 'write', 'mirror'),
        (frame, verb) => {
          decodeRequest(frame)
          decodeResponse(verb, frame)
          decodeResponse(verb, Uint8Array.of(0, ...frame))
          decodeResponse(verb, Uint8Array.of(1, ...frame))
        },
      ),
      deep,
    )
  })

  it('answers and failures come back from their frames', () => {
    const packed = (absent: boolean) => {
      const packer = new EntryPacker()
      packer.add(Uint8Array.of(1), 1, 2 ** 40 + 10, Uint8Array.of(2, 3), 0, 2)
      if (absent) packer.absent()
      return packer.finish()
    }
    const answers = [
      { verb: 'read', entries: packed(true) },
      { verb: 'scan', page: { entries: packed(false), snapshot: 's', done: true } },
      { verb: 'write', version: '0b' },
      { verb: 'decide', version: '0b' },
      { verb: 'prepared', transactions: [{ id: 'x', keys: 2, preparedAtMs: 1e12, holdMs: 60_000 }] },
    ] as const
    for (const answer of answers) expect(decodeResponse(answer.verb, encodeAnswer(answer))).toEqual(answer)
    const holed = { verb: 'scan', page: { entries: packed(true), snapshot: 's', done: true } } as const
    expect(decodeResponse('scan', encodeAnswer(holed))).toBeUndefined()
    const failure = decodeResponse('write', encodeFailure(new HarmonyError('COMMIT_UNKNOWN', 'who knows')))
    expect(failure).toMatchObject({
      code: 'COMMIT_UNKNOWN',
      message: 'who knows',
      maybeCommitted: true,
      retryable: false,
    })
    expect(decodeResponse('mirror', Uint8Array.of(0, 2, 0x7b, 0x7d))).toBeUndefined()
  })

  it('serve.json is an address of this machine with a token, or nothing', () => {
    const good = { pid: 1, url: 'ws://127.0.0.1:80/control', token: 'a'.repeat(64) }
    expect(decodeServeFile(JSON.stringify(good))).toEqual(good)
    for (const bad of [{ pid: 'x' }, { url: 'http://x/control' }, { token: 'a\r\nx: y' }, { token: undefined }]) {
      expect(decodeServeFile(JSON.stringify({ ...good, ...bad }))).toBeUndefined()
    }
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          json.map(one => JSON.stringify(one)),
        ),
        text => void decodeServeFile(text),
      ),
      deep,
    )
  })
})
