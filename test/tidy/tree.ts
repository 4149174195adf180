/**
 * The source tree as the tidy rules see it: texts by path, parsed once. Rules take a `Tree`, so that each can be shown a bad
 * sample as well as the real tree.
 *
 * What counts as a reference from one file to another: imports, re-exports, dynamic imports, `import('…')` types, and any string
 * that names an existing file, relative to the file itself or to the root (worker URLs, spawned scripts, pages' script tags).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Import {
  /** As written. */
  readonly specifier: string
  /** The file meant, if it is one of the tree's; undefined for packages and for what does not exist. */
  readonly target: string | undefined
  /** Erased at run time. */
  readonly typeOnly: boolean
  readonly line: number
}

export interface SourceFile {
  readonly path: string
  readonly text: string
  readonly lines: number
  /** Parsed, for TypeScript and JavaScript. */
  readonly code: ts.SourceFile | undefined
  readonly imports: readonly Import[]
  /** Files named by strings. */
  readonly mentions: readonly string[]
}

export type Tree = ReadonlyMap<string, SourceFile>

/** Where a rule is broken, and how. */
export interface Violation {
  readonly path: string
  readonly line: number
  readonly message: string
}

const unread = new Set(['node_modules', 'dist', '.git', '.tsbuild', 'coverage', 'test-results', '.demo'])
const textExtensions = new Set(['.ts', '.mjs', '.js', '.css', '.html', '.svg', '.md', '.json', '.txt', ''])
const codeExtensions = new Set(['.ts', '.mjs', '.js'])

/** Every text file of the checkout that is not generated. */
export function readTree(): Tree {
  const texts: Record<string, string> = {}
  const walk = (folder: string): void => {
    for (const entry of readdirSync(`${root}${folder}`, { withFileTypes: true })) {
      // In a linked worktree `.git` is a file.
      if (unread.has(entry.name)) continue
      const path = `${folder}${entry.name}`
      if (entry.isDirectory()) {
        if (!entry.name.endsWith('.harmony')) walk(`${path}/`)
      } else if (entry.isFile() && textExtensions.has(extname(entry.name)) && entry.name !== 'package-lock.json') {
        texts[path] = readFileSync(`${root}${path}`, 'utf8')
      }
    }
  }
  walk('')
  return treeOf(texts)
}

export function treeOf(texts: Readonly<Record<string, string>>): Tree {
  const paths = new Set(Object.keys(texts))
  return new Map(Object.entries(texts).map(([path, text]) => [path, parse(path, text, paths)]))
}

function parse(path: string, text: string, paths: ReadonlySet<string>): SourceFile {
  const lines = text === '' ? 0 : text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  if (!codeExtensions.has(extname(path))) {
    const named = [...text.matchAll(/["'(]([^"'()\s]+\.(?:ts|mjs|js|css|svg))["')]/g)].map(match => match[1] ?? '')
    return { path, text, lines, code: undefined, imports: [], mentions: filesOf(path, named, paths) }
  }
  const code = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const imports: Import[] = []
  const strings: string[] = []
  visit(code, node => {
    const found = importOf(node)
    if (found !== undefined) {
      const target = resolve(path, found.specifier, paths)
      imports.push({ ...found, target, line: lineOf(code, node) })
    } else if (ts.isStringLiteralLike(node)) strings.push(node.text)
  })
  return { path, text, lines, code, imports, mentions: filesOf(path, strings, paths) }
}

function importOf(node: ts.Node): { specifier: string; typeOnly: boolean } | undefined {
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    const { importClause: clause } = node
    const named = clause?.namedBindings
    const onlyTypes =
      clause?.name === undefined &&
      named !== undefined &&
      ts.isNamedImports(named) &&
      named.elements.length > 0 &&
      named.elements.every(element => element.isTypeOnly)
    return { specifier: node.moduleSpecifier.text, typeOnly: clause?.isTypeOnly === true || onlyTypes }
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined && ts.isStringLiteral(node.moduleSpecifier)) {
    const named = node.exportClause
    const onlyTypes =
      named !== undefined && ts.isNamedExports(named) && named.elements.every(element => element.isTypeOnly)
    return { specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly || onlyTypes }
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [first] = node.arguments
    if (first !== undefined && ts.isStringLiteralLike(first)) return { specifier: first.text, typeOnly: false }
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
    return { specifier: node.argument.literal.text, typeOnly: true }
  }
  return undefined
}

export const isRelative = (specifier: string): boolean => specifier.startsWith('./') || specifier.startsWith('../')

function resolve(from: string, specifier: string, paths: ReadonlySet<string>): string | undefined {
  if (!isRelative(specifier)) return undefined
  const path = posix.join(posix.dirname(from), specifier.split('?', 1)[0] ?? '')
  return paths.has(path) ? path : undefined
}

function filesOf(from: string, strings: readonly string[], paths: ReadonlySet<string>): string[] {
  const found = new Set<string>()
  for (const string of strings) {
    if (!/\.[a-z]+$/.test(string)) continue
    const beside = posix.join(posix.dirname(from), string)
    if (paths.has(beside)) found.add(beside)
    else if (paths.has(posix.normalize(string))) found.add(posix.normalize(string))
  }
  found.delete(from)
  return [...found]
}

export function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  node.forEachChild(child => visit(child, see))
}

export const lineOf = (code: ts.SourceFile, node: ts.Node): number =>
  code.getLineAndCharacterOfPosition(node.getStart(code)).line + 1

/** One line a violation, as editors open them. */
export const shown = (violations: readonly Violation[]): string =>
  violations.map(({ path, line, message }) => `${path}:${line}  ${message}`).join('\n')
