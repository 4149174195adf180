/**
 * A `Core` that is a running `serve` on this machine. Wire: `control-wire.ts`.
 *
 * It never hangs: connecting has a time-out, a request has its own and a margin, and a connection that ends fails what was asked
 * of it. After the first failure of that kind it is closed for good.
 */
import { WebSocket } from 'ws'
import { type Core, HarmonyError, type PackedEntries } from '../../../src/index.ts'
import { nodeClock } from '../host.ts'
import {
  type Answer,
  type CoreMirror,
  type CorePage,
  decodeResponse,
  encodeRequest,
  frameBytesMax,
  plainBytes,
  type Request,
} from './control-wire.ts'

const connectTimeoutMs = 5_000
const mirrorTimeoutMs = 5_000
/** What an answer may take beyond the time that the operation itself was given. */
const marginMs = 3_000

export interface ControlAddress {
  readonly url: string
  readonly token: string
}

export interface ControlledCore extends Core {
  /** Asks for the mirror anew. */
  refresh(): Promise<CoreMirror>
}

/** Undefined if nobody listens there, or somebody who does not know the token: the peer that wrote the address is gone. */
export async function connectControl(address: ControlAddress): Promise<ControlledCore | undefined> {
  const socket = await openSocket(address)
  if (socket === undefined) return undefined
  const client = new ControlClient(socket)
  try {
    await client.refresh()
    return client
  } catch (error) {
    await client.close()
    throw error
  }
}

function openSocket({ url, token }: ControlAddress): Promise<WebSocket | undefined> {
  return new Promise((resolve, reject) => {
    let socket: WebSocket
    try {
      socket = new WebSocket(url, {
        headers: { authorization: `Bearer ${token}` },
        handshakeTimeout: connectTimeoutMs,
        maxPayload: frameBytesMax,
        perMessageDeflate: false,
      })
    } catch {
      return resolve(undefined) // no address
    }
    socket.once('open', () => resolve(socket))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (/timed out/i.test(error.message)) {
        reject(new HarmonyError('TIMEOUT', `the peer at ${url} does not answer (${connectTimeoutMs / 1000} s)`))
      } else resolve(undefined)
    })
  })
}

class ControlClient implements ControlledCore {
  readonly clock = nodeClock
  private readonly socket: WebSocket
  private latest: CoreMirror | undefined
  private ended: HarmonyError | undefined
  /** Settles when the request before is done: the wire takes one at a time. */
  private turn: Promise<unknown> = Promise.resolve()
  private receive: ((frame: Uint8Array) => void) | undefined
  private abandon: ((error: HarmonyError) => void) | undefined

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', data => {
      if (Buffer.isBuffer(data)) this.receive?.(plainBytes(data))
    })
    socket.on('close', (_code, reason) => {
      const why = reason.length > 0 ? reason.toString() : 'it ended'
      this.end(new HarmonyError('CLOSED', `the connection to the running peer is gone: ${why}`))
    })
  }

  async getMany(...[keys, options]: Parameters<Core['getMany']>): Promise<PackedEntries> {
    return (await this.ask({ verb: 'read', keys, options }, options.timeoutMs)).entries
  }

  snapshot(): never {
    throw new HarmonyError(
      'VALIDATION',
      'snapshots and transactions are for programs that open the database, not for commands',
    )
  }

  release(): void {}

  lock = refused
  unlock(): void {}

  watch = refused
  watched = refused
  unwatch(): void {}

  /** Its pages are in the memory of another process. */
  peek(): undefined {}

  async scan(...[scan]: Parameters<Core['scan']>): Promise<CorePage> {
    return (await this.ask({ verb: 'scan', scan }, scan.timeoutMs)).page
  }

  async write(...[write]: Parameters<Core['write']>): ReturnType<Core['write']> {
    const { version } = await this.ask({ verb: 'write', write }, write.timeoutMs)
    return { version }
  }

  prepare = refused

  async decide(...[decision]: Parameters<Core['decide']>): ReturnType<Core['decide']> {
    const { version } = await this.ask({ verb: 'decide', decision }, decision.timeoutMs)
    return { version }
  }

  async prepared(timeoutMs: number): ReturnType<Core['prepared']> {
    return (await this.ask({ verb: 'prepared', timeoutMs }, timeoutMs)).transactions
  }

  async refresh(): Promise<CoreMirror> {
    const { mirror } = await this.ask({ verb: 'mirror' }, mirrorTimeoutMs)
    this.latest = mirror
    return mirror
  }

  mirror(): CoreMirror {
    return this.latest as CoreMirror // from `connectControl` on
  }

  subscribe(listener: (mirror: CoreMirror) => void): () => void {
    listener(this.mirror())
    return () => {}
  }

  events(): () => void {
    return () => {}
  }

  join = refused
  leave = refused
  adopt = refused
  transferLeadership = refused
  order = refused
  recover = refused
  partition(): void {}
  compact = (): Promise<never> =>
    Promise.reject(new HarmonyError('VALIDATION', 'a peer runs on this directory: stop it, then compact'))

  close(): Promise<void> {
    this.end(new HarmonyError('CLOSED', 'the connection was closed'))
    return Promise.resolve()
  }

  private ask<V extends Request['verb']>(
    request: Request & { readonly verb: V },
    timeoutMs: number,
  ): Promise<Answer & { readonly verb: V }> {
    const asked = this.turn.then(() => this.askNow(request, timeoutMs))
    this.turn = asked.catch(() => {})
    return asked as Promise<Answer & { readonly verb: V }>
  }

  private askNow(request: Request, timeoutMs: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) return reject(this.ended)
      const mayCommit = request.verb === 'write' || request.verb === 'decide'
      const timer = setTimeout(() => {
        const limitMs = timeoutMs + marginMs
        this.end(new HarmonyError('TIMEOUT', `the running peer did not answer within ${limitMs} ms`))
      }, timeoutMs + marginMs)
      const settle = (run: () => void) => {
        clearTimeout(timer)
        this.receive = undefined
        this.abandon = undefined
        run()
      }
      this.abandon = error =>
        settle(() => reject(new HarmonyError(error.code, error.message, { maybeCommitted: mayCommit })))
      this.receive = frame => {
        const response = decodeResponse(request.verb, frame)
        if (response === undefined) {
          this.end(
            new HarmonyError('VERSION_MISMATCH', 'the running peer answers in another form; is it this version?'),
          )
        } else settle(() => (response instanceof HarmonyError ? reject(response) : resolve(response)))
      }
      this.socket.send(encodeRequest(request))
    })
  }

  private end(error: HarmonyError): void {
    if (this.ended !== undefined) return
    this.ended = error
    this.abandon?.(error)
    this.socket.terminate()
  }
}

function refused(): Promise<never> {
  return Promise.reject(new HarmonyError('VALIDATION', 'a running peer joins and leaves by itself, not by a command'))
}
