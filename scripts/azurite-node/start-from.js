// Azurite ignores `startFrom`, which Azure Storage and OneLake know (List Blobs, since version 2026-02-06; see
// github.com/Azure/Azurite/issues/2619), and the library below Delta asks for the newest files of a log by it.
// Loaded before Azurite (node --require), this answers it by what Azurite has: a marker, which lists what sorts behind.
// Azure lists the name itself too; that library leaves it out in any case.
"use strict";

const path = require("node:path");

const { default: ContainerHandler } = require(path.join(path.dirname(process.argv[1]), "handlers", "ContainerHandler.js"));
const list = ContainerHandler.prototype.listBlobFlatSegment;

ContainerHandler.prototype.listBlobFlatSegment = function (options, context) {
  const startFrom = context.request.getQuery("startFrom");
  return list.call(this, startFrom && !options.marker ? { ...options, marker: startFrom } : options, context);
};
