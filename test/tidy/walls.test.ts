/**
 * The walls that `tsc -b` keeps, tried: in `src/` no name of a browser or of Node may resolve, not even one that a package's types
 * drag in. Each area's configuration is asked, with a probe file beside its real files.
 */
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { root } from './tree.ts'

/** Diagnostics of a probe, as if it stood in the area. */
function probe(area: string, text: string): string[] {
  const folder = join(root, area)
  const { config } = ts.readConfigFile(join(folder, 'tsconfig.json'), ts.sys.readFile)
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, folder)
  const path = join(folder, 'probe-of-the-walls.ts')
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = name => name === path || fileExists(name)
  host.getSourceFile = (name, ...rest) =>
    name === path ? ts.createSourceFile(name, text, ts.ScriptTarget.Latest) : getSourceFile(name, ...rest)
  const program = ts.createProgram([...fileNames, path], options, host)
  const source = program.getSourceFile(path)
  return program
    .getSemanticDiagnostics(source)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))
}

/** Which of the names resolve to a value in the area. */
function known(area: string, names: readonly string[]): string[] {
  const errors = probe(area, names.map(name => `export const ${name}_ = ${name}`).join('\n'))
  return names.filter(name => !errors.some(error => new RegExp(`'${name}'`).test(error)))
}

const dom = ['document', 'window', 'navigator', 'indexedDB', 'RTCPeerConnection', 'localStorage', 'WebSocket', 'crypto']
const node = ['process', 'Buffer', 'setImmediate', '__dirname', 'require']
const both = ['setTimeout', 'performance', 'console', 'fetch', 'queueMicrotask', 'AbortController', 'structuredClone']

describe('walls between the areas', () => {
  it('src/ knows neither browser nor Node', () => {
    expect(known('src', [...dom, ...node, ...both])).toEqual([])
    expect(probe('src', `export type { Server } from 'node:http'`)).toHaveLength(1)
  })
  it('what src/ may use resolves there: the probe can tell', () => {
    expect(known('src', ['Uint8Array', 'Map', 'Promise'])).toEqual(['Uint8Array', 'Map', 'Promise'])
  })
  it('platform/network, platform/histories and platform/simulation know neither', () => {
    expect(known('platform/histories', [...dom, ...node, ...both])).toEqual([])
    expect(known('platform/network', [...dom, ...node, ...both])).toEqual([])
    expect(known('platform/simulation', [...dom, ...node, ...both])).toEqual([])
  })
  it('platform/node knows Node and no document', () => {
    expect(known('platform/node', ['process', 'document', 'indexedDB', 'RTCPeerConnection'])).toEqual(['process'])
  })
  it('the page knows a document, the worker does not, and neither knows Node', () => {
    expect(known('platform/browser/page', ['document', ...node])).toEqual(['document'])
    expect(known('platform/browser/worker', ['document', 'indexedDB', ...node])).toEqual(['indexedDB'])
  })
})
