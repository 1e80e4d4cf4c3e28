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

// V8's compiled code is kept beside the program, in a folder that is as trustworthy as the program itself: who can write
// there can replace the program. Where the folder cannot be written, the program starts without a cache.
// biome-ignore lint/style/useNodejsImportProtocol: old versions of Node do not know the protocol.
require('module').enableCompileCache(require('path').join(__dirname, '..', 'compiled'))
require('./program.cjs')
