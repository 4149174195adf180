/** Code as one file, for `new Worker` or `import`; with pieces of it replaced, for tests that prove that others would find it out. */
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { expect } from 'vitest'

export interface Mutation {
  /** From the root, with slashes. */
  readonly file: string
  /** Each `from` stands there once. */
  readonly edits: readonly (readonly [from: string, to: string])[]
}

const root = join(import.meta.dirname, '..')
const scripts: string[] = []
export const removeBundles = (): Promise<unknown> => Promise.all(scripts.map(script => rm(script, { force: true })))

/** So that a list of them cannot rot. */
export function expectToApply({ file, edits }: Mutation): void {
  const text = readFileSync(join(root, file), 'utf8')
  for (const [from] of edits) expect(text.split(from), from).toHaveLength(2)
}

/** Puts the mistake into what is built. */
export const mutating = (mutation: Mutation): Plugin => ({
  name: 'mutate',
  setup({ onLoad }) {
    expectToApply(mutation)
    onLoad({ filter: new RegExp(`${mutation.file.replaceAll('/', '[\\\\/]')}$`) }, ({ path }) => {
      let contents = readFileSync(path, 'utf8')
      for (const [from, to] of mutation.edits) contents = contents.replace(from, to)
      return { contents, loader: 'ts' }
    })
  },
})

/** @param entry From the root. */
export async function bundle(entry: string, mutation?: Mutation): Promise<string> {
  const script = join(root, `node_modules/.cache/mutated-${process.pid}-${scripts.length}.mjs`)
  scripts.push(script)
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    plugins: mutation === undefined ? [] : [mutating(mutation)],
    outfile: script,
  })
  return script
}
