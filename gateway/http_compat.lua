-- Makes requests of HTTP clients fit for the transcoder and answers fit for them; what gRPC
-- clients send and get passes as it is.
-- What handle:headers() returns is void after a wait, so it is asked for again.

local INTERNAL = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding",
  "grpc-accept-encoding", "x-http-code", "x-envoy-upstream-healthchecked-cluster",
}

local function is_grpc(headers)
  return (headers:get("content-type") or ""):sub(1, 16) == "application/grpc"
end

local function remove_internal(headers)
  for _, name in ipairs(INTERNAL) do headers:remove(name) end
end

-- The transcoder knows a verb such as `:cancel` by a plain colon; some clients encode it.
local function with_plain_verb(path)
  return (path:gsub("^([^?]*)%%3[Aa](%l+)%f[?%z]", "%1:%2"))
end

-- The transcoder knows an enum's values by their whole names; `view=FULL` is the short form.
local function with_whole_view(path)
  return (path:gsub("([?&]view=)(%a+)%f[&%z]", function(parameter, view)
    return parameter .. "TOKEN_VIEW_" .. view:upper()
  end))
end

local TUS_VERSION = "1.0.0"

local function is_tus(path)
  return path:match("^/uploads%f[/?%z]") ~= nil
end

-- Clients that can send nothing but POST say in a header what they mean; tus has it so.
local OVERRIDES = { HEAD = true, PATCH = true, DELETE = true }

local function override_method(headers)
  local method = headers:get("x-http-method-override")
  if headers:get(":method") == "POST" and OVERRIDES[method] then
    headers:replace(":method", method)
  end
end

function envoy_on_request(handle)
  if is_grpc(handle:headers()) then return end
  -- Only the transcoder says how the gRPC it makes is encoded.
  remove_internal(handle:headers())
  local path = handle:headers():get(":path") or ""
  if is_tus(path) then
    override_method(handle:headers())
    local method = handle:headers():get(":method")
    handle:streamInfo():dynamicMetadata():set("sori", "tus_method", method)
  end
  local plain = with_whole_view(with_plain_verb(path))
  if plain ~= path then handle:headers():replace(":path", plain) end
end

-- The status that a service asks for with an error. It stands in the trailers when
-- the service had sent its headers before; waiting for the short body holds ours back.
local function asked_status(handle)
  local asked = handle:headers():get("x-http-code")
  if not asked and handle:body() then
    local trailers = handle:trailers()
    asked = trailers and trailers:get("x-http-code")
  end
  return asked and asked:match("^[45]%d%d$")
end

-- A success with another status than 200 has no body.
local function asked_success(headers)
  local asked = headers:get("x-http-code")
  if not asked or not asked:match("^20%d$") then return end
  headers:remove("content-type")
  if asked == "204" then headers:remove("content-length") end
  return asked
end

-- The method of a request of tus; none of any other.
local function tus_method(handle)
  local ours = handle:streamInfo():dynamicMetadata():get("sori")
  return ours and ours.tus_method
end

-- The transcoder answers HEAD with a body, too, when it is an error.
local function drop_body(handle)
  local body = handle:body()
  if body then body:setBytes("") end
  handle:headers():replace("content-length", "0")
  handle:headers():remove("content-type")
end

-- Also on answers that no service has made.
local function say_version(headers)
  headers:replace("tus-resumable", TUS_VERSION)
  headers:replace("tus-version", TUS_VERSION)
end

function envoy_on_response(handle)
  if is_grpc(handle:headers()) then return end
  local method = tus_method(handle)
  local status
  if tonumber(handle:headers():get(":status")) >= 400 then
    status = asked_status(handle)
  elseif method then
    status = asked_success(handle:headers())
  end
  if status then handle:headers():replace(":status", status) end
  if method == "HEAD" then drop_body(handle) end
  if method then say_version(handle:headers()) end
  remove_internal(handle:headers())
  if (handle:headers():get("content-type") or ""):sub(1, 17) == "text/event-stream" then
    handle:headers():replace("cache-control", "no-cache")
    handle:headers():replace("x-accel-buffering", "no")
  end
  local trailers = handle:trailers()
  if trailers then remove_internal(trailers) end
end
