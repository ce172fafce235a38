<?php
// Asks with PHP's curl functions, as Guzzle does: `php ask.php BASE MANIFEST ANSWERS`.

[, $base, $manifest, $answers] = $argv;
$curl = curl_init();
foreach (file($manifest, FILE_IGNORE_NEW_LINES) as $line) {
    $parts = explode("\t", $line);
    [$name, $method, $path, $file, $how] = $parts;
    $headers = array_slice($parts, 5);
    curl_reset($curl);
    curl_setopt_array($curl, [CURLOPT_URL => $base . $path, CURLOPT_RETURNTRANSFER => true, CURLOPT_CUSTOMREQUEST => $method]);
    if ($method === "HEAD") {
        curl_setopt($curl, CURLOPT_NOBODY, true);
    }
    if ($how === "chunked") {
        $headers[] = "Transfer-Encoding: chunked";
        curl_setopt_array($curl, [CURLOPT_UPLOAD => true, CURLOPT_INFILE => fopen($file, "rb")]);
    } elseif ($file !== "") {
        curl_setopt($curl, CURLOPT_POSTFIELDS, file_get_contents($file));
    }
    curl_setopt($curl, CURLOPT_HTTPHEADER, $headers);
    $body = curl_exec($curl);
    if ($body === false) {
        exit(curl_error($curl) . "\n");
    }
    file_put_contents("$answers/$name", $body);
    echo $name, "\t", curl_getinfo($curl, CURLINFO_RESPONSE_CODE), "\n";
}
