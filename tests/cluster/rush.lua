-- Suggestions that nobody has asked for before, each client's some time after its last answer. Arguments: mean pause in ms, first number.
-- The last line that it prints is JSON: how many were answered with 200, with 503 and with something else, and how long a 200 took.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  pause_ms, number = tonumber(args[1]), tonumber(args[2])
  math.randomseed(number)
  good, refused, odd = 0, 0, 0
end

function delay()
  return pause_ms * 2 * math.random() -- not all at once
end

function request()
  number = number + 1
  return wrk.format("GET", "/v1/suggest?q=film+" .. number)
end

function response(status)
  if status == 200 then
    good = good + 1
  elseif status == 503 then
    refused = refused + 1
  else
    odd = odd + 1
  end
end

function done(summary, latency)
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local thread = threads[1]
  io.write(string.format('\n{"good": %d, "refused": %d, "odd": %d, "lasted_s": %f}\n', thread:get("good"), thread:get("refused"), thread:get("odd") + broken, summary.duration / 1e6))
end
