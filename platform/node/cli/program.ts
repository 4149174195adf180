/** The command line's grammar: commands, options and their help. What a command does is in the other files. */
import { readFileSync } from 'node:fs'
import { Argument, Command, InvalidArgumentError, Option, type OutputConfiguration } from 'commander'
import type { Consistency } from '../../../src/index.ts'
import { historyModels } from '../../histories/check.ts'
import { isolationLevels } from '../../histories/list-append.ts'
import { isolations, workloadNames } from '../../simulation/workloads/names.ts'
import { startSignalingServer } from '../signaling/server.ts'
import { check } from './check-command.ts'
import { compact, get, put, remove, scan, status } from './data-commands.ts'
import { systemFailure, usage } from './exit-status.ts'
import { checkHelp, examplesOf, generalHelp } from './help.ts'
import { importFile } from './import-command.ts'
import type { Output } from './output.ts'
import { prepared } from './prepared-command.ts'
import { type RecoverOptions, recover } from './recover-command.ts'
import { serve } from './serve-command.ts'
import { verify } from './verify-command.ts'

/**
 * @param writers Where Commander says help and usage.
 * @param untilStopped Resolves with a word for people when the process is to end (a signal).
 * @param script The file of the command, for commands that start further processes.
 */
export function createProgram(
  output: Output,
  writers: OutputConfiguration,
  version: string,
  untilStopped: () => Promise<string>,
  script?: string,
): Command {
  const program = new Command('harmonydb')
    .description('HarmonyDB: a database that lives inside your programs, and is one across all of them.')
    .version(version)
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .showHelpAfterError('(--help shows how it is used)')
    .addHelpText('after', generalHelp)
    .configureOutput(writers)
    .exitOverride()

  addServe(program, output, untilStopped)
  program
    .command('signal')
    .description('run a stand-alone signalling server: it introduces the peers of a room and sees none of their data')
    .option('--port <number>', 'port to listen on; 0 takes any', port, 8787)
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--json', 'print events as JSON lines', false)
    .action(async (options: { port: number; host: string; json: boolean }) => {
      const stopped = untilStopped()
      const server = await startSignalingServer(options)
      await output.line(
        options.json
          ? JSON.stringify({ event: 'listening', signal: `${server.url}/signal` })
          : `HarmonyDB signalling ${server.url}/signal`,
      )
      await stopped
      await server.close()
    })

  onData(program.command('get'))
    .description('print the value of a key')
    .argument('<key>', 'the key')
    .addOption(consistency())
    .option('--raw', 'print a string or bytes as they are, without quotes and without a line end', false)
    .action((key: string, options) => get(key, options, output))

  const conditions = (command: Command): Command =>
    command
      .option('--if-version <version>', 'only if the key has this version')
      .option('--if-absent', 'only if the key is not there', false)

  conditions(onData(program.command('put')))
    .description('store a value under a key; prints its version')
    .argument('<key>', 'the key')
    .argument('<value>', 'the value; - reads it from standard input')
    .option('--string', 'take the value as a string, whatever it looks like', false)
    .action(async (key: string, value: string, options) =>
      put(key, value === '-' ? readStandardInput() : value, options, output),
    )

  conditions(onData(program.command('delete')))
    .description('remove a key; prints the version of the removal')
    .argument('<key>', 'the key')
    .action((key: string, options) => remove(key, options, output))

  onData(program.command('scan'))
    .description('print keys and values in key order, one a line, separated by a tab')
    .option('--prefix <key>', 'only keys that begin with these parts')
    .option('--start <key>', 'only this key and later ones')
    .option('--end <key>', 'only keys before this one')
    .option('--limit <number>', 'at most so many', positive)
    .option('--reverse', 'from the last to the first', false)
    .option('--keys-only', 'print no values', false)
    .addOption(consistency())
    .action(options => scan(options, output))

  onData(program.command('import'))
    .description('store the records of a file: one {"key": ..., "value": ...} a line; progress goes to standard error')
    .argument('<file>', 'a file of JSON lines; - for standard input')
    .option('--batch <number>', 'records in one write', batchSize, 500)
    .action((file: string, options) => importFile(file, options, output))

  onData(program.command('prepared'))
    .description('print the transactions that are prepared and wait for a decision; or decide one of them')
    .addArgument(new Argument('[decision]', 'what becomes of it').choices(['commit', 'rollback']))
    .argument('[id]', 'its id')
    .action((decision, id, options) => prepared(decision, id, options, output))

  onData(program.command('status'))
    .description('print the state of the peer, its cluster and its storage')
    .action(options => status(options, output))

  onData(program.command('compact'))
    .description('give the space of deleted data back to the system; needs the directory for itself')
    .action(options => compact(options, output))

  program
    .command('verify')
    .description(
      'check a directory that nobody has open: every superblock, log record and committed entry; changes nothing',
    )
    .argument('<directory>', 'the directory of a database')
    .option('--json', 'print the report as JSON', false)
    .action((directory: string, options: { json: boolean }) => verify(directory, options.json, output))

  program
    .command('recover')
    .description(
      'after a majority of the voters is lost for good: make a new cluster of this one peer, with the data that it has. What only the others had is lost; ' +
        'the old cluster, should it come back, stays another one. Needs the directory for itself; without --yes it only says what it would do',
    )
    .argument('<directory>', 'the directory of a survivor, best of the one whose `verify` tells the highest entry')
    .option('--yes', 'do it: the other voters will never come back', false)
    .option('--json', 'print what was done as JSON', false)
    .action((directory: string, options: RecoverOptions) => recover(directory, options, output))

  program
    .command('check')
    .description(
      'say whether a recorded history of calls is what a model allows: linearizable, serializable...; needs no database',
    )
    .argument('<file>', 'a file of JSON lines; - for standard input')
    .addOption(new Option('--model <model>', 'what the calls are').choices(historyModels).default('key-value'))
    .addOption(
      new Option('--level <level>', 'list-append: what the transactions were promised')
        .choices(isolationLevels)
        .default('strict-serializable'),
    )
    .option(
      '--states <number>',
      'key-value: give up a key after so many states, of about 100 bytes',
      positive,
      2_000_000,
    )
    .option('--json', 'print the report as JSON', false)
    .addHelpText('after', checkHelp)
    .action((file: string, options) => check(file, options, output))
  addSimulate(program, output, script)

  for (const command of program.commands) command.addHelpText('after', examplesOf(command.name()))
  return program
}

function addSimulate(program: Command, output: Output, script: string | undefined): void {
  program
    .command('simulate')
    .description(
      'run clusters under faults in virtual time, one for each seed, and check every promise; exit status 1: one was broken',
    )
    .option('--seed <number>', 'run this one and tell of it', seed)
    .option('--seeds <number>', 'run so many (default: 100)', positive)
    .option('--from <number>', 'the first of them', seed, 1)
    .option('--peers <number>', 'size of the clusters (default: each seed draws 3 to 5)', clusterSize)
    .option('--duration <seconds>', 'how long faults go on, in virtual time (default: 20)', duration)
    .option('--schedule <file>', 'run a plan that was printed: a seed, sizes and a list of timed faults, as JSON')
    .option('--shrink', 'of a run that breaks a promise, look for a shorter list of faults', false)
    .option('--trace <file>', 'write every protocol event as a JSON line')
    .option('--history <file>', 'write what the clients called and were answered, as `harmonydb check` reads it')
    .option(
      '--diagram <file>',
      'write a space-time diagram: an HTML file with peers, messages, terms, faults and what broke',
    )
    .option(
      '--diagram-from <seconds>',
      'where it begins, in virtual time (default: before the first violation, or the first fault)',
      moment,
    )
    .option('--diagram-for <seconds>', 'how much of it (default: about 2)', stretch)
    .addOption(
      new Option(
        '--workload <name>',
        'transactions on whole databases, in place of gets and puts; a checker (see check) judges what their clients saw',
      ).choices([...workloadNames, 'all']),
    )
    .addOption(
      new Option('--isolation <level>', 'of the transactions of --workload')
        .choices([...isolations, 'all'])
        .default('all'),
    )
    .option('--jobs <number>', 'processes to share the seeds (default: one for each core)', positive)
    .option('--json', 'print a JSON line for each seed', false)
    .action(async ({ workload, isolation, ...options }) => {
      // The simulated world is no burden for other commands.
      if (workload !== undefined) {
        const { simulateWorkloads } = await import('./workload-command.ts')
        return simulateWorkloads({ ...options, workload, isolation }, output, script)
      }
      if (isolation !== 'all') throw usage('--isolation goes with --workload')
      const { simulate } = await import('./simulate-command.ts')
      await simulate(options, output, script)
    })
}

function addServe(program: Command, output: Output, untilStopped: () => Promise<string>): void {
  place(program.command('serve'))
    .description('run a peer, with signalling for others inside, until it is stopped')
    .option('--room <name>', 'join this room')
    .option('--secret <text>', "the room's secret; better: HARMONYDB_SECRET, or --secret-file")
    .option('--secret-file <file>', 'a file whose first line is the secret')
    .option('--signaling <urls...>', 'further signalling servers (ws://host:port); its own is always used')
    .option('--port <number>', 'port to listen on; 0 takes any', port, 8787)
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--web <folder>', 'serve the files of this folder as web pages')
    .addOption(
      new Option('--role <role>', 'what to be in the room').choices(['auto', 'voter', 'learner']).default('auto'),
    )
    .option('--no-bootstrap', 'never found the room, only join it')
    .option('--discard-local', 'give up the data here if the room has data of its own', false)
    .option(
      '--lease-reads',
      'while it leads, answer linearizable reads without asking the others, trusting their clocks',
      false,
    )
    .option('--json', 'print events as JSON lines', false)
    .action(async options => {
      const { room } = options
      const secret = secretOf(options)
      if (room !== undefined && secret === undefined)
        throw usage('--room needs a secret: --secret, --secret-file or HARMONYDB_SECRET')
      if (room === undefined && (options.secret !== undefined || options.signaling !== undefined))
        throw usage('--secret and --signaling go with --room')
      await serve({ ...options, secret, signaling: options.signaling ?? [] }, output, untilStopped())
    })
}

function secretOf(options: { secret?: string; secretFile?: string }): string | undefined {
  if (options.secret !== undefined && options.secretFile !== undefined)
    throw usage('--secret and --secret-file exclude each other')
  if (options.secretFile === undefined) return options.secret ?? process.env.HARMONYDB_SECRET
  try {
    const [line = ''] = readFileSync(options.secretFile, 'utf8').split(/\r?\n/, 1)
    if (line === '') throw usage(`${options.secretFile} is empty`)
    return line
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === undefined) throw cause
    throw systemFailure(`${options.secretFile} cannot be read`, cause)
  }
}

function readStandardInput(): string {
  return readFileSync(process.stdin.fd, 'utf8').replace(/\r?\n$/, '')
}

const place = (command: Command): Command =>
  command
    .option('--name <name>', 'name of the database', 'harmony')
    .option('--dir <directory>', 'where it is stored (default: ./<name>.harmony)')

const onData = (command: Command): Command =>
  place(command)
    .option('--json', 'print JSON', false)
    .option('--timeout-ms <number>', 'give up after so long', positive, 10_000)

const consistency = (): Option => {
  const levels: readonly Consistency[] = ['linearizable', 'bounded', 'session', 'local']
  return new Option('--consistency <level>', 'how fresh the answer must be; local answers even without a quorum')
    .choices(levels)
    .default('linearizable')
}

function port(text: string): number {
  return integer(text, 0, 65_535)
}

function positive(text: string): number {
  return integer(text, 1, 2 ** 31 - 1)
}

function seed(text: string): number {
  return integer(text, 0, 2 ** 31 - 1)
}

function clusterSize(text: string): number {
  return integer(text, 1, 7)
}

function moment(text: string): number {
  return decimal(text, 0, 100_000)
}

function stretch(text: string): number {
  return decimal(text, 0.001, 60)
}

function duration(text: string): number {
  return integer(text, 1, 3600)
}

function batchSize(text: string): number {
  return integer(text, 1, 5_000)
}

function decimal(text: string, least: number, most: number): number {
  const value = /^[0-9]{1,6}(\.[0-9]{1,6})?$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new InvalidArgumentError(`a number from ${least} to ${most} is needed.`)
}

function integer(text: string, least: number, most: number): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new InvalidArgumentError(`a whole number from ${least} to ${most} is needed.`)
}
