#!/usr/bin/env node
// Starts the bundled program. Written for Node 12 and later, so that an old Node can say what is wrong with it.
'use strict'
var version = process.versions.node
if (Number(version.split('.')[0]) < 24) {
  console.error(
    'procore-proxy: this program needs Node.js 24 or later, but it was started with Node.js ' +
      version +
      ': install a newer version from https://nodejs.org and run the command again.',
  )
  process.exit(2)
}
run()

/**
 * Runs program.cjs with V8's compiled code, which is a fifth of the time until the first answer. It is kept beside the program, in a
 * folder that is as trustworthy as the program itself: who can write there can replace the program. Where the folder cannot be
 * written, the program starts without it. module.enableCompileCache would keep only what V8 compiles before a program
 * runs, and V8 compiles most functions when they are first called.
 */
function run() {
  // biome-ignore-start lint/style/useNodejsImportProtocol: old versions of Node do not know the protocol.
  var fs = require('fs')
  var path = require('path')
  var vm = require('vm')
  var crc32 = require('zlib').crc32
  // biome-ignore-end lint/style/useNodejsImportProtocol: as above
  var filename = path.join(__dirname, 'program.cjs')
  var folder = path.join(__dirname, '..', 'compiled')
  var file = path.join(folder, 'program.bin')
  var source = fs.readFileSync(filename)
  var sourceSum = crc32(source)
  var keptBytes = 0
  var script = new vm.Script(source.toString('latin1'), { filename: filename, cachedData: compiled() })
  script.runInThisContext()(exports, require, module, filename, __dirname)
  // What 'start' (the command if none is named) and 'demo' have compiled is what every start needs. V8 forgets in time what only a start
  // needs, so it is kept after a second, and again at the exit if there is more then.
  if (
    script.cachedDataRejected !== false &&
    /^(start|demo|undefined|-(?!h$|-help$|-version$).*)$/.test(process.argv[2])
  ) {
    setTimeout(keep, 1000, 0).unref()
    process.on('exit', keep)
  }

  /** The compiled code, if it belongs to this program and is whole. V8 checks that it fits this Node. */
  function compiled() {
    var kept, data
    try {
      kept = fs.readFileSync(file)
      data = kept.subarray(8)
      return kept.readUInt32LE(0) === sourceSum && kept.readUInt32LE(4) === crc32(data) ? data : undefined
    } catch (_) {
      return undefined
    }
  }

  function keep(status) {
    var data
    var sums = Buffer.alloc(8)
    if (status !== 0) return
    try {
      data = script.createCachedData()
      if (data.length <= keptBytes) return
      keptBytes = data.length
      sums.writeUInt32LE(sourceSum, 0)
      sums.writeUInt32LE(crc32(data), 4)
      if (!fs.existsSync(folder)) fs.mkdirSync(folder)
      fs.writeFileSync(file + process.pid, Buffer.concat([sums, data]))
      fs.renameSync(file + process.pid, file)
    } catch (_) {
      // The next start is slower, and nothing else. What a full disk left of the file goes too.
      try {
        fs.unlinkSync(file + process.pid)
      } catch (_) {
        // It was not there.
      }
    }
  }
}
