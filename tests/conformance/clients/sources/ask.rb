# Asks with Ruby's Net::HTTP on one connection: `ruby ask.rb BASE MANIFEST ANSWERS`.

require "net/http"

base, manifest, answers = ARGV
uri = URI(base)
Net::HTTP.start(uri.host, uri.port) do |http|
  File.readlines(manifest, chomp: true).each do |line|
    name, method, path, file, how, *told = line.split("\t", -1)
    request = Net::HTTP.const_get(method.capitalize).new(path)
    told.each do |header|
      key, value = header.split(": ", 2)
      request[key] = value
    end
    if how == "chunked"
      request["Transfer-Encoding"] = "chunked"
      request.body_stream = File.open(file, "rb")
    elsif !file.empty?
      request.body = File.binread(file)
    end
    reply = http.request(request)
    File.binwrite(File.join(answers, name), reply.body || "")
    puts "#{name}\t#{reply.code}"
  end
end
