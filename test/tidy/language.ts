/** Rules about what stands inside a file: ambient effects, constructs that are not used here, headers, length, words. */
import { posix } from 'node:path'
import ts from 'typescript'
import { lineOf, type SourceFile, type Tree, type Violation, visit } from './tree.ts'

export const fileLinesMax = 500
const headerCharsMin = 40

type Report = (node: ts.Node, message: string) => void

/** Runs `look` on every node of the files chosen. */
function inCode(
  tree: Tree,
  chosen: (path: string) => boolean,
  look: (node: ts.Node, report: Report, file: SourceFile) => void,
): Violation[] {
  const found: Violation[] = []
  for (const file of tree.values()) {
    const { code, path } = file
    if (code === undefined || !chosen(path)) continue
    const report: Report = (node, message) => found.push({ path, line: lineOf(code, node), message })
    visit(code, node => look(node, report, file))
  }
  return found
}

const isSource = (path: string): boolean => path.startsWith('src/')
const isTypeScript = (path: string): boolean => path.endsWith('.ts')

/** Globals that answer differently each time, or reach past the ports. */
const ambient = new Set([
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'queueMicrotask',
  'requestAnimationFrame',
  'requestIdleCallback',
  'crypto',
  'console',
  'process',
  'fetch',
  'navigator',
  'document',
  'window',
  'self',
  'location',
  'indexedDB',
  'localStorage',
  'WebSocket',
  'Worker',
  'MessageChannel',
  'BroadcastChannel',
  'RTCPeerConnection',
  'AbortSignal',
  'AbortController',
  'Buffer',
  'require',
  'eval',
  'Intl',
  'Temporal',
  'WeakRef',
  'FinalizationRegistry',
])

/** Depends on the host's language or time zone. */
const hostDependent = new Set(['localeCompare', 'toLocaleString', 'toLocaleDateString', 'toLocaleTimeString'])

/** Nothing in src/ takes time, randomness or effects from anywhere but the ports. */
export function ambientEffects(tree: Tree): Violation[] {
  return inCode(tree, isSource, (node, report, { code }) => {
    if (!ts.isIdentifier(node)) return
    const { parent, text } = node
    if (ts.isPropertyAccessExpression(parent) && parent.name === node) {
      if (hostDependent.has(text)) report(node, `${text} depends on the host`)
      const owner = parent.expression
      const ownerText = ts.isIdentifier(owner) ? owner.text : ''
      if (ownerText === 'Math' && text === 'random') report(node, 'Math.random: take a Random')
      if (ownerText === 'Date' && (text === 'now' || text === 'parse')) report(node, `Date.${text}: take a Clock`)
      if (ownerText === 'globalThis' && ambient.has(text)) report(node, `globalThis.${text}: take it from a port`)
      return
    }
    if (text === 'Date' && ts.isNewExpression(parent) && parent.expression === node && !parent.arguments?.length)
      report(node, 'new Date(): take a Clock')
    if (text === 'Date' && ts.isCallExpression(parent) && parent.expression === node)
      report(node, 'Date(): take a Clock')
    if (!ambient.has(text) || isDeclaredName(node) || isTypePosition(node)) return
    // A parameter or variable of that name shadows the global.
    if (code !== undefined && declaredInFile(code, text)) return
    report(node, `${text}: take it from a port`)
  })
}

function isDeclaredName(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isMethodSignature(parent))
    return parent.name === node
  if (ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent) || ts.isGetAccessor(parent))
    return parent.name === node
  return (
    (ts.isParameter(parent) || ts.isVariableDeclaration(parent) || ts.isBindingElement(parent)) && parent.name === node
  )
}

const isTypePosition = (node: ts.Identifier): boolean => ts.isTypeReferenceNode(node.parent)

function declaredInFile(code: ts.SourceFile, name: string): boolean {
  let declared = false
  visit(code, node => {
    if (
      (ts.isParameter(node) || ts.isVariableDeclaration(node) || ts.isBindingElement(node)) &&
      ts.isIdentifier(node.name) &&
      node.name.text === name
    )
      declared = true
    if (ts.isImportSpecifier(node) && node.name.text === name) declared = true
  })
  return declared
}

/** Promises begin in database/; below it a function runs to completion. */
export function promisesBelowDatabase(tree: Tree): Violation[] {
  const below = /^src\/(base|raft|storage|mvcc|txn|shard|cluster)\/|^src\/platform\.ts$/
  return inCode(
    tree,
    path => below.test(path),
    (node, report) => {
      const named = ts.isIdentifier(node) && (node.text === 'Promise' || node.text === 'PromiseLike')
      if (named || ts.isAwaitExpression(node) || node.kind === ts.SyntaxKind.AsyncKeyword)
        report(node, 'no promises below database/')
    },
  )
}

const mayExportDefault = /(^|\/)(vite|vitest|tsup|playwright)\.config\.ts$|(^|\/)test\/browser\/.*\.config\.ts$/

export function bannedConstructs(tree: Tree): Violation[] {
  return inCode(
    tree,
    () => true,
    (node, report, { path }) => {
      if (node.kind === ts.SyntaxKind.AnyKeyword && isTypeScript(path)) report(node, 'any: decode `unknown` once')
      if (ts.isEnumDeclaration(node)) report(node, 'enum: use `as const`')
      if (ts.isExportDeclaration(node) && (node.exportClause === undefined || ts.isNamespaceExport(node.exportClause)))
        report(node, 'export *: write the names out')
      if (
        ts.isModuleDeclaration(node) &&
        (node.flags & ts.NodeFlags.Namespace) !== 0 &&
        (node.flags & ts.NodeFlags.GlobalAugmentation) === 0
      )
        report(node, 'namespace: use a module')
      const isDefault =
        ts.isExportAssignment(node) ||
        (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(one => one.kind === ts.SyntaxKind.DefaultKeyword))
      if (isDefault && !mayExportDefault.test(path) && !path.endsWith('.d.ts'))
        report(node, 'export default: only in configuration files')
    },
  )
}

/** A file that only passes on what others export; `index.ts` and entries are the public surface, and written out. */
export function barrels(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, code } of tree.values()) {
    if (code === undefined || code.statements.length === 0 || /(^|\/)(index|entry)\.ts$/.test(path)) continue
    if (!/^(src|platform|demo)\//.test(path)) continue
    if (code.statements.every(one => ts.isExportDeclaration(one) && one.moduleSpecifier !== undefined))
      found.push({ path, line: 1, message: 'a barrel: import from where things are' })
  }
  return found
}

const uncheckedBy = ['ignore', 'nocheck'].map(word => `@ts-${word}`)
const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`)

/** In comments only: a string may say what it likes. */
export function bannedComments(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, text, code } of tree.values()) {
    if (code === undefined) continue
    for (const { start, comment } of commentsOf(text)) {
      const line = code.getLineAndCharacterOfPosition(start).line + 1
      for (const word of uncheckedBy) {
        if (comment.includes(word)) found.push({ path, line, message: `${word}: fix the type` })
      }
      const word = unfinished.exec(comment)?.[1]
      if (word !== undefined) found.push({ path, line, message: `${word}: do it, or write an issue` })
    }
  }
  return found
}

function* commentsOf(text: string): Generator<{ start: number; comment: string }> {
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, false, ts.LanguageVariant.Standard, text)
  // Template literals confuse a bare scanner after `${`: it is told to go on with the template at each closing brace.
  const braces: boolean[] = []
  for (let kind = scanner.scan(); kind !== ts.SyntaxKind.EndOfFileToken; kind = scanner.scan()) {
    if (kind === ts.SyntaxKind.TemplateHead) braces.push(true)
    else if (kind === ts.SyntaxKind.OpenBraceToken) braces.push(false)
    else if (kind === ts.SyntaxKind.CloseBraceToken && braces.pop() === true) {
      if (scanner.reScanTemplateToken(false) === ts.SyntaxKind.TemplateMiddle) braces.push(true)
    } else if (kind === ts.SyntaxKind.SingleLineCommentTrivia || kind === ts.SyntaxKind.MultiLineCommentTrivia) {
      yield { start: scanner.getTokenStart(), comment: scanner.getTokenText() }
    }
  }
}

/** Every file of the library says first what it is for. */
export function missingHeaders(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, text, code } of tree.values()) {
    if (code === undefined || !/^(src|platform|demo)\//.test(path)) continue
    const body = text.replace(/^#!.*\n/, '')
    const [header = ''] = /^\s*(\/\*[\s\S]*?\*\/|(\/\/.*\n)+)/.exec(body) ?? []
    if (header.replace(/[/*\s]/g, '').length < headerCharsMin)
      found.push({ path, line: 1, message: 'no header comment that says what the file is for' })
  }
  return found
}

export function longFiles(tree: Tree): Violation[] {
  return [...tree.values()]
    .filter(({ path, lines }) => /\.(ts|mjs|js|css|html)$/.test(path) && lines > fileLinesMax)
    .map(({ path, lines }) => ({ path, line: fileLinesMax, message: `${lines} lines; at most ${fileLinesMax}` }))
}

const emptyNames = new Set(['utils', 'util', 'helpers', 'helper', 'common', 'misc', 'shared', 'lib'])

/** A name that says nothing collects everything. */
export function emptyFileNames(tree: Tree): Violation[] {
  return [...tree.keys()]
    .filter(path => path.split('/').some(part => emptyNames.has(posix.basename(part, posix.extname(part)))))
    .map(path => ({ path, line: 1, message: 'name it for its concept' }))
}

/** Paths of somebody's machine; system paths such as those of a browser are everybody's. */
const machinePath = /(?:^|[\s"'`(=:])(\/(?:work|home|root|Users|mnt)\/[^\s"'`)]*|[A-Z]:\\[A-Za-z])/

export function machinePaths(tree: Tree): Violation[] {
  const found: Violation[] = []
  for (const { path, text } of tree.values()) {
    text.split('\n').forEach((content, at) => {
      const match = machinePath.exec(content)?.[1]
      if (match !== undefined) found.push({ path, line: at + 1, message: `a path of one machine: ${match}` })
    })
  }
  return found
}
