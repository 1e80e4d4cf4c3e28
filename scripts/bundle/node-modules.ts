// Modules of Node that packages in the bundle load for what is never used here, or seldom: what they get instead, by name.
// Each of them would cost every start a millisecond or two, and a quarter of a megabyte for good.

const later = (name: string, ...functions: string[]) =>
  `module.exports={${functions.map((each) => `${each}:(...a)=>require('node:${name}').${each}(...a)`)}}`

export const SELDOM_USED: Readonly<Record<string, string>> = {
  // What holds needs no words.
  assert: "module.exports=(holds,...a)=>{if(!holds)require('node:assert')(holds,...a)}",
  // commander starts programs for subcommands that are programs of their own.
  child_process: later('child_process', 'spawn'),
  dns: later('dns', 'lookup'),
  // reply-from makes an agent of each kind, and closes them; nothing is ever sent by them.
  https: `module.exports={Agent:class{destroy(){}},createServer:(...a)=>require('node:https').createServer(...a)}`,
  perf_hooks: 'module.exports={performance}',
  'timers/promises': later('timers/promises', 'setTimeout'),
  // Of a log that is written by threads of its own, which ours is not.
  worker_threads: 'module.exports={isMainThread:true}',
}
