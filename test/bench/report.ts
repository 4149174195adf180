/** The results for people: one row a case, one column an engine, each peer with the ratio of HarmonyDB (of the owner alone) to it: above 1 that is better. */
import { isStart, type Line } from './lines.ts'

export function table(lines: readonly Line[]): string {
  const engines = [...new Set(lines.map(line => line.engine))]
  const cases = [...new Set(lines.map(line => line.case))]
  const rows = cases.map(name => {
    const ofCase = lines.filter(line => line.case === name)
    const ours = ofCase.find(line => line.engine === 'harmonydb' || line.engine === 'owner')
    return [
      name,
      ...engines.map(engine =>
        cell(
          ofCase.find(line => line.engine === engine),
          ours,
        ),
      ),
    ]
  })
  return aligned([['case', ...engines], ...rows])
}

function cell(line: Line | undefined, ours: Line | undefined): string {
  if (line === undefined) return '–'
  const figure = figureOf(line)
  if (ours === undefined || ours === line) return figure
  return `${figure} (${ratio(line, ours)}×)`
}

function figureOf({ case: name, opsPerSecond, p50Ms, bytes }: Line): string {
  if (bytes !== undefined) return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
  if (isStart(name)) return `${p50Ms >= 100 ? Math.round(p50Ms) : p50Ms.toPrecision(2)} ms`
  if (opsPerSecond >= 1e6) return `${(opsPerSecond / 1e6).toFixed(2)}M/s`
  return opsPerSecond >= 1000 ? `${(opsPerSecond / 1000).toFixed(1)}k/s` : `${Math.round(opsPerSecond)}/s`
}

function ratio(line: Line, ours: Line): string {
  const value =
    line.bytes !== undefined && ours.bytes !== undefined
      ? line.bytes / ours.bytes
      : ours.opsPerSecond / line.opsPerSecond
  return value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toPrecision(2)
}

/** Markdown that reads well as it is. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const lines = rows.map(row => `| ${row.map((text, column) => text.padEnd(widths[column]!)).join(' | ')} |`)
  lines.splice(1, 0, `| ${widths.map(width => '-'.repeat(width)).join(' | ')} |`)
  return lines.join('\n')
}
