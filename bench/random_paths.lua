-- wrk's script: ask for the paths of a file in a shuffled order, then print what was measured as one line of JSON.
-- wrk -s random_paths.lua URL -- FILE SEED
-- A line is a path, or a path and a header parted by tabs: PATH, NAME, VALUE.

local requests, sent = {}, 0

function init(args)
   math.randomseed(tonumber(args[2]))
   for line in io.lines(args[1]) do
      local path, name, value = line:match("^([^\t]+)\t?([^\t]*)\t?(.*)$")
      local headers = {["Host"] = wrk.headers["Host"]}
      if name ~= "" then headers[name] = value end
      requests[#requests + 1] = wrk.format("GET", path, headers)
   end
   for last = #requests, 2, -1 do
      local other = math.random(last)
      requests[last], requests[other] = requests[other], requests[last]
   end
end

function request()
   sent = sent + 1
   return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "bad_status": %d, "broken": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
      errors.connect + errors.read + errors.write + errors.timeout))
end
